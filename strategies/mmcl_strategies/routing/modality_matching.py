"""ModalityMatching: every encoder finds the experience whose learned key is nearest to what it sees of a row."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router
from mmcl_strategies.routing.keys import similarities


class ModalityMatching(Router):
    """Sends a row through each tower the way of the experience whose key has the largest cosine with its query there.

    A query is the first token that leaves a tower of the pre-trained model. Rows that lack something are plain.

    Args:
        towers: M names; the last one's way is that of the row, by which it is answered.
        width: Q, of the queries.
        dtype: of the backbone.

    Attributes:
        keys: id of an experience -> ``[M, Q]``, uniform between -1 and 1 to begin with.
    """

    granularity = "sample"

    def __init__(self, towers: Sequence[str], width: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.keys = nn.ParameterDict()
        self.towers = tuple(towers)
        self._shape, self._dtype = (len(self.towers), width), dtype

    def meet(self, arrival: Arrival) -> None:
        """A key for an experience in each tower."""
        self.keys[str(arrival.index)] = nn.Parameter(torch.empty(self._shape, dtype=self._dtype).uniform_(-1, 1))

    def train_only(self, experience: int) -> None:
        """Freeze the keys of all other experiences."""
        for name, keys in self.keys.items():
            keys.requires_grad_(name == str(experience))

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The nearest experience in each tower; plain before the first one."""
        unknown = torch.full((inputs.batch_size,), PLAIN, device=next(iter(inputs.values())).device)
        asked = self.told(unknown + 1, inputs, plain)
        if not self.keys or asked.query is None:
            return Route.plain(inputs.batch_size, unknown.device)
        nearest = self._experiences[self.cosines(self.queries(asked)).argmax(2)]
        ways = torch.where(asked.taken.unsqueeze(1), nearest, PLAIN)
        return asked._replace(ids=ways[:, -1], of_parts=ways)

    def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
        """Known ways, the same through all towers, with the queries that draw their keys."""
        encoded = plain(inputs)
        if not encoded.features.keys() >= set(self.towers):
            return Route.plain(inputs.batch_size, ids.device)
        queries, there = [], torch.ones_like(ids, dtype=torch.bool)
        for name in self.towers:
            tokens = encoded.features[name].tokens
            assert tokens is not None
            queries.append(tokens[:, 0])
            there = there & encoded.present[name]
        query = torch.cat(queries, dim=1).to(self._dtype)
        ways = torch.where(there, ids, PLAIN)
        return Route(ways, (ways != PLAIN).to(query.dtype), query)

    def queries(self, route: Route) -> Float[Tensor, "B M Q"]:
        """The queries of each row, tower by tower."""
        assert route.query is not None
        queries: Tensor = route.query.unflatten(1, self._shape)
        return queries

    def cosines(self, queries: Float[Tensor, "B M Q"]) -> Float[Tensor, "B M T"]:
        """Of the queries of each tower with its keys of the T experiences, in their order."""
        keys = torch.stack(list(self.keys.values()), dim=1)
        return torch.stack([similarities(*pair) for pair in zip(queries.unbind(1), keys, strict=True)], dim=1)

    def matching(self, route: Route) -> Float[Tensor, ""]:
        """The cosines of the queries of all rows that take a way with the keys of that way, summed up (Eq. 5)."""
        rows = route.select(route.taken)
        places = (rows.ids.unsqueeze(1) == self._experiences).int().argmax(1)
        cosines = self.cosines(self.queries(rows))
        return cosines.gather(2, places.view(-1, 1, 1).expand(-1, cosines.shape[1], 1)).sum()

    @property
    def _experiences(self) -> Int[Tensor, " T"]:
        return torch.tensor([int(name) for name in self.keys], device=next(iter(self.keys.values())).device)
