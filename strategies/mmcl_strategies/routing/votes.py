"""Votes: whether each row of a batch goes its own way, or all go where most of them would."""

from typing import Literal

from jaxtyping import Int64
from torch import Tensor

Granularity = Literal["sample", "batch"]


def majority(ids: Int64[Tensor, " n"]) -> Int64[Tensor, ""]:
    """The id that occurs most often; of several the smallest."""
    known, counts = ids.unique(return_counts=True)
    smallest: Tensor = known[counts == counts.max()][0]
    return smallest
