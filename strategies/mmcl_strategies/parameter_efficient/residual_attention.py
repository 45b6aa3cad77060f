"""Residual attention: stored keys and values of every experience, attended to beside the tokens and not among them.

Source: Tang et al., "Mind the Interference", ECCV 2024 (DIKI), and released code.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Attention, Here
from mmcl_strategies.parameter_efficient.prefixes import by_head


def attend_to(
    keys: Float[Tensor, "B P W"], values: Float[Tensor, "B P W"], query: Float[Tensor, "B H L D"]
) -> Float[Tensor, "B H L D"]:
    """``softmax(q K^T / sqrt(D)) V`` of each head; nothing is masked.

    Args:
        keys: K, in the space behind the projections; W is H D.
        values: V, likewise.
        query: q, of the heads.
    """
    heads = query.shape[1]
    return functional.scaled_dot_product_attention(query, by_head(keys, heads), by_head(values, heads))


class ResidualAttention(AddOn):
    """Adds ``w softmax(q K_t^T) V_t``, projected, to what attention gives to the rows of way t at strength w.

    The softmax over the tokens stays as it is, and so does its mask. Values begin as 0: fresh prefixes add nothing.
    Rows on the plain way, and rows without strength, pass by.

    Args:
        length: P, keys and values of an experience.
        width: W, of the tokens.
        attention: how that of the site is computed.
        dtype: of the tower.

    Attributes:
        prefixes: id of an experience -> keys and values ``[2, P, W]``.
    """

    def __init__(self, length: int, width: int, attention: Attention, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.prefixes = nn.ParameterDict()
        self._shape, self._dtype, self._attention = (length, width), dtype, attention

    def meet(self, arrival: Arrival) -> None:
        """Keys for an experience, uniform in +-1, and values, 0."""
        keys = torch.empty(self._shape, dtype=self._dtype).uniform_(-1, 1)
        self.prefixes[str(arrival.index)] = nn.Parameter(torch.stack([keys, torch.zeros_like(keys)]))

    def train_only(self, experience: int) -> None:
        """Freeze the prefixes of all other experiences."""
        for name, prefix in self.prefixes.items():
            prefix.requires_grad_(name == str(experience))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]``: what attention gives and, for rows that take a way, what their prefix adds."""
        route = inputs.route
        if route is None or not bool((taken := route.taken).any()):
            return here.value
        if bool(taken.all()):
            return here.value + self._added(here.module, here.entered, route).to(here.value.dtype)
        rows = taken.nonzero().squeeze(1)
        added = self._added(here.module, here.entered[rows], route.select(rows))
        return here.value.index_add(0, rows, added.to(here.value.dtype))

    def _added(self, module: nn.Module, entered: Tensor, route: Route) -> Tensor:
        """The branch of rows that all take a way, behind the output projection, whose bias was added once already."""
        query = self._attention.query(module, entered)
        keys, values = self._of(route).to(query.dtype).unbind(1)
        found = route.strength.to(query.dtype).view(-1, 1, 1, 1) * attend_to(keys, values, query)
        bias = self._attention.merge(module, torch.zeros_like(found[:1, :, :1]))
        return self._attention.merge(module, found) - bias

    def _of(self, route: Route) -> Tensor:
        """``[B, 2, P, W]``, the prefix of each row; calls grow with the ways that occur, not with those there are."""
        ids, which = route.distinct()
        return torch.stack([self.prefixes[str(id_)] for id_ in ids])[which]
