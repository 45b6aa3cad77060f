"""Gaussians of features: their statistics, a shrinkage of covariances, and samples."""

import torch
from jaxtyping import Float
from torch import Tensor


def statistics(features: Float[Tensor, "n D"], jitter: float) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
    """Mean and unbiased covariance plus ``jitter I``; one sample says nothing about a spread.

    Args:
        features: at least one.
        jitter: least variance in any direction.
    """
    mean = features.mean(0)
    centred = features - mean
    covariance = centred.T @ centred / max(len(features) - 1, 1)
    return mean, covariance + jitter * torch.eye(len(mean), dtype=mean.dtype, device=mean.device)


def widened_by_means(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """``S + a I + b (1 - I)`` with a the mean of S on its diagonal and b beside it, over what is not zero there.

    Of Huang et al., ECCV 2024 (RAPF), who call it shrinkage.
    """
    diagonal = covariance.diagonal()
    beside = covariance - diagonal.diag()
    mean_beside = beside.sum() / beside.count_nonzero().clamp(min=1)
    found: Tensor = covariance + mean_beside + (diagonal.mean() - mean_beside) * torch.eye(len(diagonal)).to(covariance)
    return found


def samples(
    mean: Float[Tensor, " D"], factor: Float[Tensor, "D D"], noise: Float[Tensor, "n D"]
) -> Float[Tensor, "n D"]:
    """``z L^T + mu`` of standard normal rows z: samples of ``N(mu, L L^T)``."""
    return noise @ factor.T + mean
