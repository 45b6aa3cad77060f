"""Densities of features: a mixture of normal distributions, of which a single Gaussian is the case with one component.

Kept as plain tensors, in the precision of the features: ``weights [K]``, ``means [K, W]`` and ``factors``:
``[K, W, W]`` of full covariances, with ``covariance = factor @ factor.T``, or the standard deviations ``[K, W]`` of
diagonal ones.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Density = dict[str, Tensor]
_SAMPLES_A_COMPONENT = 5  # on average, at least: fewer say nothing about a spread


def fit(
    samples: Float[Tensor, "N W"],
    components: int = 1,
    diagonal: bool = False,
    shrinkage: float | None = None,
    seed: int = 0,
) -> Density:
    """The density of ``samples``.

    Args:
        samples: raw features in single precision or better; at least one.
        components: K at most; there is one per five samples at most.
        diagonal: whether features are independent within a component.
        shrinkage: of the covariances, see ``shrunk``; ``None``: Ledoit and Wolf's estimate.
        seed: of the mixture's start.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage  # scikit-learn costs a second, which declaring does without

    points = samples.detach().cpu().double()
    count = max(1, min(components, len(points) // _SAMPLES_A_COMPONENT))
    share = torch.ones(len(points), 1, dtype=torch.double) if count == 1 else _shares(points, count, diagonal, seed)
    total = share.sum(0)
    means = share.T @ points / total.unsqueeze(1)
    centred = points - means.unsqueeze(1)  # [K, N, W]
    covariances = torch.einsum("nk,knv,knw->kvw", share, centred, centred) / total.view(-1, 1, 1)
    if shrinkage is None:
        # of the spread within components; one sample has none
        within = points - share @ means
        shrinkage = ledoit_wolf_shrinkage(within.numpy()) if len(points) > 1 else 0.0
    covariances = shrunk(covariances, total / total.sum(), shrinkage)
    factors = covariances.diagonal(dim1=1, dim2=2).sqrt() if diagonal else _square_roots(covariances)
    found = {"weights": total / total.sum(), "means": means, "factors": factors}
    return {name: value.to(samples.dtype) for name, value in found.items()}


def shrunk(
    covariances: Float[Tensor, "K W W"], weights: Float[Tensor, " K"], shrinkage: float
) -> Float[Tensor, "K W W"]:
    """``(1 - shrinkage) S_k + shrinkage v I`` with v the mean variance within components.

    Args:
        covariances: S of each component.
        weights: of the components in the mean.
        shrinkage: from 0 to 1.
    """
    variance = (weights * covariances.diagonal(dim1=1, dim2=2).mean(1)).sum()
    identity = torch.eye(covariances.shape[1], dtype=covariances.dtype, device=covariances.device)
    return (1 - shrinkage) * covariances + shrinkage * variance * identity


def draw(density: Mapping[str, Any], generator: torch.Generator) -> Float[Tensor, " W"]:
    """One sample of a density, of which more may be recorded; its tensors and the generator are on the CPU."""
    component = int(torch.multinomial(density["weights"], 1, generator=generator))
    mean, factor = density["means"][component], density["factors"][component]
    noise = torch.randn(len(mean), generator=generator).to(mean.dtype)
    sample: Tensor = mean + (factor @ noise if factor.dim() == 2 else factor * noise)
    return sample


def _shares(points: Tensor, components: int, diagonal: bool, seed: int) -> Tensor:
    """Which share of each point belongs to each component, ``[N, K]``, by expectation-maximisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    floor = 1e-3 * float(points.var(0).mean()) + 1e-12  # features of a class may be fewer than their width
    mixture = GaussianMixture(
        components, covariance_type="diag" if diagonal else "full", reg_covar=floor, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of equal points, and after 100 rounds
        shares = torch.from_numpy(mixture.fit(points.numpy()).predict_proba(points.numpy()))
    return shares[:, shares.sum(0) > 1e-6]


def _square_roots(covariances: Tensor) -> Tensor:
    """Matrices A with ``A A^T = S``, ``[K, W, W]``, of any positive semi-definite S."""
    values, vectors = torch.linalg.eigh(covariances)
    roots: Tensor = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
    return roots
