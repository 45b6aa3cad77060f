"""Interaction: matrices of low rank that make the prompts of a fusion encoder of those of image and question."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Prompts = Float[Tensor, "P W"]
Matrices = Float[Tensor, "*kinds W W"]


class Matrix(nn.Module):
    """``W = U V^T`` for image, question and their product, in one layer.

    Args:
        width: W, of the prompts.
        rank: d.
        dtype: of the backbone.

    Attributes:
        u: ``[3, W, d]``.
        v: ``[3, W, d]``; products with both keep about the length of what they are multiplied with.
    """

    def __init__(self, width: int, rank: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.empty(3, width, rank, dtype=dtype).normal_(std=rank**-0.5))
        self.v = nn.Parameter(torch.empty(3, width, rank, dtype=dtype).normal_(std=width**-0.5))

    def forward(self, image: Prompts, question: Prompts) -> Prompts:
        """``P_v W_v^T + P_q W_q^T + (P_v * P_q) W_vq^T``: what the prompts of the fusion encoder are to look like."""
        inputs = torch.stack([image, question, image * question])
        return (inputs @ self.v @ self.u.mT).sum(0)

    @property
    def whole(self) -> Float[Tensor, "3 W W"]:
        """The three products ``U V^T``."""
        return self.u @ self.v.mT


def agreement(expected: Prompts, prompts: Prompts) -> Float[Tensor, ""]:
    """The cosine of two sets of prompts, each as one long vector (Eq. 7)."""
    return functional.cosine_similarity(expected.flatten(), prompts.flatten(), dim=0)


def change(now: Matrices, before: Matrices) -> Float[Tensor, ""]:
    """The squared Frobenius distance between matrices, summed over all of them (Eq. 8)."""
    return (now - before).square().sum()
