"""LinearAdapter: one linear layer behind a tower, for the rows that are off the plain way."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.models.sites import AddOn, Here


class LinearAdapter(AddOn):
    """``W x`` in the place of pooled features x that have any length.

    A row is adapted or not: a strength between 0 and 1 is as 1.

    Args:
        width: D, of the features.
        dtype: of the tower.

    Attributes:
        layer: W ``[D, D]``, drawn as ``nn.Linear`` draws, without a bias.
    """

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width, bias=False, dtype=dtype)

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, D]``: adapted where a row takes a way, the features of the tower where it does not."""
        route = inputs.route
        if route is None or not bool((taken := route.taken).any()):
            return here.value
        if bool(taken.all()):
            return self.adapted(here.value)
        rows = taken.nonzero().squeeze(1)
        return here.value.index_copy(0, rows, self.adapted(here.value[rows]).to(here.value.dtype))

    def adapted(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """``W x`` of every row."""
        found: Tensor = self.layer(features)
        return found
