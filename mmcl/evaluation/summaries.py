"""Scores of a continual run: pure functions of the result matrix, in float64.

Throughout, ``R[i, j]`` (T trained experiences x N test columns) is the score on test set j after finishing experience
i, larger is better, NaN = not evaluated. ``R0[j]`` is the score before any training, ``b[j]`` the chance level,
``ref[j]`` a reference run, ``n[j]`` the size of a test set. N may exceed T.
Every mean runs over the finite entries of its set; where none is finite the result is NaN, never 0.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# scores that take column j for the test set of the j-th experience
PAIRED = frozenset({"learning_acc", "forgetting", "bwt", "fwt", "fwt_zeroshot", "transfer", "zeroshot_drop"})


def nan_mean(values: ArrayLike | Iterable[float]) -> float:
    """Mean of the finite entries; NaN if there is none."""
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)  # type: ignore[arg-type]
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else float("nan")


def weighted_nan_mean(values: Array, weights: Array) -> float:
    """Weighted mean of the finite entries with positive weight; NaN if there is none."""
    kept = np.isfinite(values) & (weights > 0)
    return float((values[kept] * weights[kept]).sum() / weights[kept].sum()) if kept.any() else float("nan")


def step_accuracy(R: Array) -> Array:
    """``[T]``: after every experience, the mean over the tasks seen so far; every task weighs the same."""
    return np.array([nan_mean(row[: i + 1]) for i, row in enumerate(R)])


def step_accuracy_weighted(R: Array, n: ArrayLike) -> Array:
    """``[T]``: the same weighted by test-set size, which is the accuracy on the union of the test sets."""
    sizes = np.asarray(n, dtype=np.float64)
    return np.array([weighted_nan_mean(row[: i + 1], sizes[: i + 1]) for i, row in enumerate(R)])


def learning_accuracy(R: Array) -> float:
    """Mean of the diagonal: how well each experience was learned at the time (plasticity)."""
    return nan_mean(np.diagonal(R))


def forgetting_at(R: Array, k: int) -> Array:
    """``[N]``: best score of each earlier task before step k minus its score at step k (Chaudhry et al. 2018).

    The best is searched in rows j..k-1, so it excludes step k and forgetting may be negative. NaN for tasks that are
    not earlier than k or lack a score.
    """
    result = np.full(R.shape[1], np.nan)
    for j in range(min(k, R.shape[1])):
        candidates = R[j:k, j]
        candidates = candidates[np.isfinite(candidates)]
        if candidates.size:
            result[j] = candidates.max() - R[k, j]
    return result


def forgetting_per_task(R: Array) -> Array:
    """``[N]``: ``forgetting_at`` the last step."""
    return forgetting_at(R, len(R) - 1)


def forgetting_step(R: Array) -> Array:
    """``[T]``: mean forgetting over earlier tasks after every experience; NaN at step 0."""
    return np.array([nan_mean(forgetting_at(R, k)) for k in range(len(R))])


def backward_transfer(R: Array) -> float:
    """Mean of ``R[T-1, j] - R[j, j]`` over tasks before the last (Lopez-Paz and Ranzato 2017)."""
    earlier = range(min(len(R) - 1, R.shape[1]))
    return nan_mean(R[-1, j] - R[j, j] for j in earlier)


def forgetting_first(R: Array) -> float:
    """Minus ``backward_transfer``: forgetting against the score right after learning (avalanche's notion)."""
    return -backward_transfer(R)


def backward_transfer_triangle(R: Array) -> float:
    """Mean of ``R[i, j] - R[j, j]`` over all i > j (Diaz-Rodriguez et al. 2018); not comparable to the other one."""
    tasks = R.shape[1]
    return nan_mean(R[i, j] - R[j, j] for i in range(1, len(R)) for j in range(min(i, tasks)))


def forward_transfer(R: Array, baseline: ArrayLike) -> float:
    """Mean of ``R[j-1, j] - baseline[j]`` over tasks j >= 1 (Lopez-Paz and Ranzato 2017).

    The baseline is the chance level for ``fwt`` and the zero-shot row for ``fwt_zeroshot``.
    """
    start = np.asarray(baseline, dtype=np.float64)
    return nan_mean(R[j - 1, j] - start[j] for j in range(1, R.shape[1]) if j - 1 < len(R))


def intransigence(R: Array, ref: ArrayLike) -> float:
    """Mean of ``ref[j] - R[j, j]`` over learned tasks (Chaudhry et al. 2018); lower is better."""
    diagonal = np.diagonal(R)
    return nan_mean(np.asarray(ref, dtype=np.float64)[: len(diagonal)] - diagonal)


def transfer_per_task(R: Array) -> Array:
    """``[N]``: mean score of task j over the rows before it was trained (ZSCL); NaN for task 0.

    The row before any training is not part of it.
    """
    return np.array([nan_mean(R[:j, j]) for j in range(R.shape[1])])


def transfer(R: Array) -> float:
    """Mean over tasks of ``transfer_per_task``: a mean of means, not the mean of the upper triangle."""
    return nan_mean(transfer_per_task(R))


def transfer_rowwise(R: Array) -> float:
    """Mean over rows of the mean over future tasks (mammoth); another number than ``transfer``."""
    return nan_mean(nan_mean(row[i + 1 :]) for i, row in enumerate(R))


def average_per_task(R: Array) -> Array:
    """``[N]``: mean of every column over all experiences (ZSCL "Avg.")."""
    return np.array([nan_mean(column) for column in R.T])


def zeroshot_drop(R: Array, R0: ArrayLike) -> float:
    """Mean of ``R0[j] - transfer_per_task[j]``, j >= 1: zero-shot skill lost before a task was met."""
    return nan_mean((np.asarray(R0, dtype=np.float64) - transfer_per_task(R))[1:])


def matrix_scores(R: ArrayLike, R0: ArrayLike, b: ArrayLike, ref: ArrayLike, n: ArrayLike) -> dict[str, float | Array]:
    """Every score of the metric library by its name: scalars, ``[T]`` per step and ``[N]`` per task."""
    matrix = np.asarray(R, dtype=np.float64)
    steps, weighted = step_accuracy(matrix), step_accuracy_weighted(matrix, n)
    lost, average = forgetting_step(matrix), average_per_task(matrix)
    return {
        "step_acc": steps,
        "step_acc_weighted": weighted,
        "acc": float(steps[-1]),
        "acc_weighted": float(weighted[-1]),
        "aia": nan_mean(steps),
        "aia_weighted": nan_mean(weighted),
        "learning_acc": learning_accuracy(matrix),
        "forgetting_step": lost,
        "forgetting": float(lost[-1]),
        "forgetting_per_task": forgetting_per_task(matrix),
        "forgetting_first": forgetting_first(matrix),
        "bwt": backward_transfer(matrix),
        "bwt_triangle": backward_transfer_triangle(matrix),
        "fwt": forward_transfer(matrix, b),
        "fwt_zeroshot": forward_transfer(matrix, R0),
        "intransigence": intransigence(matrix, ref),
        "transfer_per_task": transfer_per_task(matrix),
        "transfer": transfer(matrix),
        "avg_per_task": average,
        "avg": nan_mean(average),
        "last_per_task": matrix[-1].copy(),
        "last": nan_mean(matrix[-1]),
        "transfer_rowwise": transfer_rowwise(matrix),
        "zeroshot_drop": zeroshot_drop(matrix, R0),
    }


class TransferAvgLast(NamedTuple):
    """The three scores of the MTIL protocol in training order: per data set, and their means."""

    transfer: Array
    average: Array
    last: Array
    transfer_mean: float
    average_mean: float
    last_mean: float


def in_training_order(R: ArrayLike, order: ArrayLike) -> Array:
    """``[T, T]``, both axes alphabetical, put into training order: ``order[k]`` is the index trained at step k."""
    positions = np.asarray(order, dtype=np.int64)
    return np.asarray(R, dtype=np.float64)[np.ix_(positions, positions)]


def mtil_scores(R: ArrayLike, order: ArrayLike) -> TransferAvgLast:
    """Transfer ``[T-1]`` (the first data set has none), Avg ``[T]`` and Last ``[T]`` from an alphabetical matrix."""
    matrix = in_training_order(R, order)
    before, average, last = transfer_per_task(matrix)[1:], average_per_task(matrix), matrix[-1].copy()
    return TransferAvgLast(before, average, last, nan_mean(before), nan_mean(average), nan_mean(last))
