"""Confusable classes: old ones whose names are close to a new one's, and the margin that keeps them apart.

Of Huang, Cao, Lu and Liu, ECCV 2024 (RAPF).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def text_distances(old: Float[Tensor, "K D"], new: Float[Tensor, "J D"]) -> Float[Tensor, "K J"]:
    """``||t_i - t_j||_2`` of text features at unit length: 0 of equal names, 2 of opposite ones."""
    return torch.cdist(old, new, compute_mode="donot_use_mm_for_euclid_dist")


def hard_pairs(distances: Float[Tensor, "K J"], threshold: float) -> Int[Tensor, "P 2"]:
    """The pairs (old, new) that are nearer than ``threshold``, as places in rows and columns, row by row."""
    return (distances < threshold).nonzero()


def hinge(
    features: Float[Tensor, "n D"], own: Float[Tensor, "n D"], other: Float[Tensor, "n D"], margin: float
) -> Float[Tensor, ""]:
    """``mean relu(margin - <f, t_i> + <f, t_j>)``: samples are to be nearer to their own name, by a margin.

    Args:
        features: f, at unit length.
        own: t_i, the text features of each row's class.
        other: t_j, those of the class that it could be taken for.
        margin: of the difference of cosines.
    """
    return (margin - (features * own).sum(1) + (features * other).sum(1)).relu().mean()
