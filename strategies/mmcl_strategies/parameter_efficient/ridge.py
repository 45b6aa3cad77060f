"""Ridge regression in closed form, batch by batch or at once, and its fusion with zero-shot probabilities.

Of Xu et al., NeurIPS 2024 (RAIL). N samples have features ``Phi [N, h]`` and one-hot targets ``Y [N, C]``. In double
precision the order and the sizes of batches do not matter (``docs/strategies/rail.md``).
"""

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional


def unit(features: Float[Tensor, "N D"]) -> Float64[Tensor, "N D"]:
    """``x = f / ||f||`` of features, in double precision."""
    return functional.normalize(features.double(), dim=-1)


def expanded(features: Float[Tensor, "N D"], expansion: Float[Tensor, "h D"]) -> Float[Tensor, "N h"]:
    """``phi = relu(W_r x)`` with ``expansion`` as ``W_r``, a frozen random layer without bias."""
    return (features @ expansion.T).relu()


def one_hot(labels: Int[Tensor, " N"], ids: Int[Tensor, " C"]) -> Float64[Tensor, "N C"]:
    """Y in double precision, of class ids among the ids of all columns."""
    return (labels.unsqueeze(1) == ids).double()


def updated(
    R: Float[Tensor, "h h"], W: Float[Tensor, "h C"], Phi: Float[Tensor, "n h"], Y: Float[Tensor, "n C"]
) -> tuple[Float[Tensor, "h h"], Float[Tensor, "h C"]]:
    """R and W after a batch of n samples: first R, then W with the new R.

    ``R <- R - R Phi^T (I + Phi R Phi^T)^-1 Phi R`` and ``W <- W + R Phi^T (Y - Phi W)``.

    Args:
        R: ``(Phi^T Phi + lambda I)^-1`` over all samples before; ``I / lambda`` before the first.
        W: the solution over all samples before.
        Phi, Y: of the batch.
    """
    RPhi = R @ Phi.T
    factor = torch.linalg.cholesky(torch.eye(len(Phi), dtype=R.dtype, device=R.device) + Phi @ RPhi)
    root = torch.linalg.solve_triangular(factor, RPhi.T, upper=False)
    # the gain is the new R times Phi^T, without another product with all of R
    gain = torch.cholesky_solve(RPhi.T, factor).T
    return R - root.T @ root, W + gain @ (Y - Phi @ W)


def widened(W: Float[Tensor, "h C"], columns: int) -> Float[Tensor, "h {columns}"]:
    """W for more classes: new ones begin at zero, which is the solution for samples of others."""
    return functional.pad(W, (0, columns - W.shape[1]))


def ridge_solution(gram: Float[Tensor, "n n"], targets: Float[Tensor, "n C"], ridge: float) -> Float[Tensor, "n C"]:
    """``(A + lambda I)^-1 B`` of a positive semi-definite matrix.

    ``A = Phi^T Phi`` and ``B = Phi^T Y`` are joint ridge regression, a kernel matrix and ``B = Y`` its dual.

    Args:
        gram: A.
        targets: B.
        ridge: lambda.
    """
    regular = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(targets, torch.linalg.cholesky(regular))


def rbf_kernel(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"], gamma: float) -> Float[Tensor, "N M"]:
    """``exp(-gamma ||a - b||^2)`` of all rows a of the first and b of the second."""
    squares = first.square().sum(1).unsqueeze(1) + second.square().sum(1)
    return torch.exp(-gamma * (squares - 2 * first @ second.T).clamp(min=0))


def fused(
    zero_shot: Float[Tensor, "B C"], regression: Float[Tensor, "B C"], known: Bool[Tensor, " C"], weight: float
) -> Float[Tensor, "B C"]:
    """``(1 - w) p + w [regression, 0]`` in rows whose zero-shot answer is a known class, ``p`` itself in the others.

    Of classes with the same probability the known one is the answer, wherever their columns are.

    Args:
        zero_shot: p over all classes that compete.
        regression: values of the regression, no probabilities; 0 in columns of other classes.
        known: the classes that the regression has learned.
        weight: w.
    """
    best_known, best_other = (zero_shot.masked_fill(~side, -torch.inf).amax(1) for side in (known, ~known))
    mixed = (1 - weight) * zero_shot.double() + weight * regression
    return torch.where((best_known >= best_other).unsqueeze(1), mixed.to(zero_shot.dtype), zero_shot)
