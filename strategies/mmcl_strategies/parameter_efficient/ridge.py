"""Ridge regression in closed form, batch by batch or at once, and its fusion with zero-shot probabilities.

Of Xu et al., NeurIPS 2024 (RAIL). N samples have features ``Phi [N, h]`` and one-hot targets ``Y [N, C]``. In double
precision the order and the sizes of batches do not matter (``docs/strategies/rail.md``).
"""

import torch
from torch import Tensor
from torch.nn import functional


def unit(features: Tensor) -> Tensor:
    """``x = f / ||f||`` of features ``[N, D]``, in double precision."""
    return functional.normalize(features.double(), dim=-1)


def expanded(features: Tensor, expansion: Tensor) -> Tensor:
    """``phi = relu(W_r x)``, ``[N, h]``.

    Args:
        features: ``[N, D]``.
        expansion: ``W_r [h, D]``, a frozen random layer without bias.
    """
    return (features @ expansion.T).relu()


def one_hot(labels: Tensor, ids: Tensor) -> Tensor:
    """``Y [N, C]`` in double precision, of class ids ``int64[N]`` among the ids ``int64[C]`` of all columns."""
    return (labels.unsqueeze(1) == ids).double()


def updated(R: Tensor, W: Tensor, Phi: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    """R and W after a batch of n samples: first R, then W with the new R.

    ``R <- R - R Phi^T (I + Phi R Phi^T)^-1 Phi R`` and ``W <- W + R Phi^T (Y - Phi W)``.

    Args:
        R: ``[h, h]``, ``(Phi^T Phi + lambda I)^-1`` over all samples before; ``I / lambda`` before the first.
        W: ``[h, C]``, the solution over all samples before.
        Phi: ``[n, h]``.
        Y: ``[n, C]``.
    """
    RPhi = R @ Phi.T
    factor = torch.linalg.cholesky(torch.eye(len(Phi), dtype=R.dtype, device=R.device) + Phi @ RPhi)
    root = torch.linalg.solve_triangular(factor, RPhi.T, upper=False)
    # the gain is the new R times Phi^T, without another product with all of R
    gain = torch.cholesky_solve(RPhi.T, factor).T
    return R - root.T @ root, W + gain @ (Y - Phi @ W)


def widened(W: Tensor, columns: int) -> Tensor:
    """``[h, C]`` -> ``[h, columns]``: new classes begin at zero, which is the solution for samples of others."""
    return functional.pad(W, (0, columns - W.shape[1]))


def ridge_solution(gram: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """``(A + lambda I)^-1 B`` of a positive semi-definite matrix.

    ``A = Phi^T Phi`` and ``B = Phi^T Y`` are joint ridge regression, a kernel matrix and ``B = Y`` its dual.

    Args:
        gram: ``A [n, n]``.
        targets: ``B [n, C]``.
        ridge: lambda.
    """
    regular = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(targets, torch.linalg.cholesky(regular))


def rbf_kernel(first: Tensor, second: Tensor, gamma: float) -> Tensor:
    """``exp(-gamma ||a - b||^2)``, ``[N, M]``, of rows ``[N, D]`` and ``[M, D]``."""
    squares = first.square().sum(1).unsqueeze(1) + second.square().sum(1)
    return torch.exp(-gamma * (squares - 2 * first @ second.T).clamp(min=0))


def fused(zero_shot: Tensor, regression: Tensor, known: Tensor, weight: float) -> Tensor:
    """``(1 - w) p + w [regression, 0]`` in rows whose zero-shot answer is a known class, ``p`` itself in the others.

    Of classes with the same probability the known one is the answer, wherever their columns are.

    Args:
        zero_shot: ``p [B, C]`` over all classes that compete.
        regression: ``[B, C]``, values of the regression, no probabilities; 0 in columns of other classes.
        known: ``bool[C]``, the classes that the regression has learned.
        weight: w.
    """
    best_known, best_other = (zero_shot.masked_fill(~side, -torch.inf).amax(1) for side in (known, ~known))
    mixed = (1 - weight) * zero_shot.double() + weight * regression
    return torch.where((best_known >= best_other).unsqueeze(1), mixed.to(zero_shot.dtype), zero_shot)
