"""ExpertPrefixes: a prefix that all experiences share, and one of each experience, in front of an attention."""

import torch
from torch import Tensor, nn

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Attention, Here
from mmcl_strategies.parameter_efficient.prefixes import prefixed


class ExpertPrefixes(AddOn):
    """Puts a general prefix and that of a row's way in front of its attention; plain rows stay as they are.

    A row has its prefixes or not: a strength between 0 and 1 is as 1.

    Args:
        attention: that of the site.
        width: W, of the tokens.
        general: length of the prefix that all share; 0 for none.
        expert: P, length of the prefix of each experience; 0 for none.
        dtype: of the tower.

    Attributes:
        general: keys and values ``[2, general, W]``.
        experts: id of an experience -> keys and values ``[2, P, W]``.
    """

    def __init__(
        self, attention: Attention, width: int, *, general: int, expert: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.attention = attention
        self.general = nn.Parameter(torch.empty(2, general, width, dtype=dtype).uniform_(-1, 1))
        self.experts = nn.ParameterDict()
        self._shape = (2, expert, width)

    def meet(self, arrival: Arrival) -> None:
        """A prefix for an experience, which begins as that of the one before it."""
        if not self._shape[1]:
            return
        earlier = list(self.experts.values())
        start = earlier[-1].detach().cpu().clone() if earlier else self.general.new_empty(self._shape).uniform_(-1, 1)
        self.experts[str(arrival.index)] = nn.Parameter(start)

    def train_only(self, experience: int) -> None:
        """Freeze the prefixes of all other experiences; the general one learns in each of them."""
        for name, prefix in self.experts.items():
            prefix.requires_grad_(name == str(experience))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]``, the attention with the prefixes of each row that takes a way."""
        route = inputs.route
        if route is None or not bool((taken := route.taken).any()):
            return here.value
        keys, values = self.of(route.select(taken)).unbind(1)
        return prefixed(here, self.attention, taken, (keys, values))

    def of(self, route: Route) -> Tensor:
        """``[B, 2, general + P, W]``, keys and values of rows on these ways."""
        ids, which = route.distinct()
        shared = self.general.expand(len(which), -1, -1, -1)
        if not self.experts:
            return shared
        own = torch.stack([self.experts[str(id_)] for id_ in ids])[which]
        return torch.cat([shared, own], dim=2)
