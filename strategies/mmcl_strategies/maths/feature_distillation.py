"""Distillation losses on feature vectors, one row per sample. The teacher is constant.

Papers differ in what they divide by and whether they normalise, so nothing of it is hidden: rows are taken as they are
given unless a docstring says otherwise (``unit_rows`` of ``maths.distillation`` makes unit rows), and every loss says
what it is a mean of.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmcl_strategies.maths.distillation import soft_cross_entropy

Rows = Float[Tensor, "rows width"]


def mean_squared(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """Mean over all ``rows * width`` entries of the squared difference.

    On unit rows it is the optional feature term of ZSCL's code.
    """
    return functional.mse_loss(student, teacher.detach())


def cosine_distance(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """``1 - mean over rows of the cosine`` along the width (LUCIR in the VLCP baselines)."""
    return 1 - functional.cosine_similarity(student, teacher.detach(), dim=1).mean()


def dimension_divergence(student: Rows, teacher: Rows, temperature: float) -> Float[Tensor, ""]:
    """Mean over rows of ``KL(softmax(t / T) || softmax(s / T))``, softmax over the dimensions of a feature.

    LwF in the VLCP baselines: raw rows, T = 0.07, no factor ``T^2``.
    """
    return soft_cross_entropy(student, teacher, temperature, divergence=True)


def mean_distance(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """Mean over rows of the Euclidean length of the difference."""
    lengths: Tensor = torch.linalg.vector_norm(student - teacher.detach(), dim=1)
    return lengths.mean()
