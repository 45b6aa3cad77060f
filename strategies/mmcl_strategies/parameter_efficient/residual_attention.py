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
from mmcl.models.sites import AddOn, Here


def attend_to(
    keys: Float[Tensor, "B P W"], values: Float[Tensor, "B P W"], query: Float[Tensor, "B L W"], heads: int
) -> Float[Tensor, "B L W"]:
    """``softmax(q K^T / sqrt(W / heads)) V`` of each head, side by side; nothing is masked.

    Args:
        keys: K, in the space behind the projections.
        values: V, likewise.
        query: q, likewise.
        heads: into which all three are split.
    """
    split = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, keys, values))
    return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class ResidualAttention(AddOn):
    """Adds ``w softmax(q K_t^T) V_t``, projected, to what attention gives to the rows of way t at strength w.

    The softmax over the tokens stays as it is, and so does its mask. Values begin as 0: fresh prefixes add nothing.
    Rows on the plain way, and rows without strength, pass by.

    Args:
        length: P, keys and values of an experience.
        width: W, of the tokens.
        dtype: of the tower.

    Attributes:
        prefixes: id of an experience -> keys and values ``[2, P, W]``.
    """

    def __init__(self, length: int, width: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.prefixes = nn.ParameterDict()
        self._shape, self._dtype = (length, width), dtype

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

    def _added(self, attention: nn.Module, entered: Tensor, route: Route) -> Tensor:
        """The branch of rows that all take a way, behind the output projection, whose bias was added once."""
        assert isinstance(attention, nn.MultiheadAttention)
        width = attention.embed_dim
        bias = None if attention.in_proj_bias is None else attention.in_proj_bias[:width]
        query = functional.linear(entered, attention.in_proj_weight[:width], bias)
        keys, values = self._of(route).to(query.dtype).unbind(1)
        attended = attend_to(keys, values, query, attention.num_heads)
        strength = route.strength.to(attended.dtype).view(-1, 1, 1)
        return functional.linear(strength * attended, attention.out_proj.weight)

    def _of(self, route: Route) -> Tensor:
        """``[B, 2, P, W]``, the prefix of each row; calls grow with the ways that occur, not with those there are."""
        ids, which = route.distinct()
        return torch.stack([self.prefixes[str(id_)] for id_ in ids])[which]
