"""KeyMatching: the experience whose learned key is nearest to the frozen features of an image."""

import torch
from torch import Tensor, nn

from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router
from mmcl_strategies.routing.keys import best, most_frequent, pull, similarities
from mmcl_strategies.routing.queries import asking


class KeyMatching(Router):
    """Sends a row to the experience whose key has the largest cosine with its query.

    Args:
        width: Q, of the queries.
        batchwise: whether all rows go where most of them would.
        dtype: of the backbone.

    Attributes:
        keys: id of an experience -> ``[Q]``, uniform between -1 and 1 to begin with.
    """

    def __init__(self, width: int, *, batchwise: bool = False, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.keys = nn.ParameterDict()
        self.granularity = "batch" if batchwise else "sample"
        self._width, self._dtype = width, dtype

    def meet(self, arrival: Arrival) -> None:
        """A key for an experience."""
        self.keys[str(arrival.index)] = nn.Parameter(torch.empty(self._width, dtype=self._dtype).uniform_(-1, 1))

    def train_only(self, experience: int) -> None:
        """Freeze the keys of all other experiences."""
        for name, key in self.keys.items():
            key.requires_grad_(name == str(experience))

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The nearest experience; plain before the first one and for rows without an image."""
        unknown = torch.full((inputs.batch_size,), PLAIN, device=next(iter(inputs.values())).device)
        asked = asking(unknown + 1, inputs, plain)
        assert asked.query is not None
        if not self.keys:
            return asked._replace(ids=unknown, strength=torch.zeros_like(asked.strength))
        rows = asked.taken.nonzero().squeeze(1)
        nearest = best(self._cosines(asked.query[rows]), 1)
        if self.granularity == "batch":
            nearest = most_frequent(nearest, len(self.keys))
        return asked._replace(ids=unknown.index_copy(0, rows, self._experiences[nearest.squeeze(1)]))

    def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
        """Known ways, with the queries that draw their keys."""
        return asking(ids, inputs, plain)

    def pull(self, query: Tensor, ids: Tensor) -> Tensor:
        """What draws the keys of ``ids``, ``int64[B]``, to the queries ``[B, Q]`` of their rows, a scalar."""
        places = (ids.unsqueeze(1) == self._experiences).int().argmax(1, keepdim=True)
        return pull(self._cosines(query), places)

    def _cosines(self, query: Tensor) -> Tensor:
        return similarities(query.to(self._dtype), torch.stack(list(self.keys.values())))

    @property
    def _experiences(self) -> Tensor:
        """``int64[M]``, whose keys they are."""
        return torch.tensor([int(name) for name in self.keys], device=next(iter(self.keys.values())).device)
