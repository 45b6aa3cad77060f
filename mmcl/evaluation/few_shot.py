"""Scores of few-shot class-incremental learning: all classes seen so far after every session, and old against new.

Sessions are experiences; ``R[i, j]`` and ``n[j]`` are those of ``summaries``. Accuracy after session i is that on the
union of the test sets of sessions 0 to i (Tao et al., CVPR 2020). Its loss from the first to the last session is the
performance dropping rate, PD (Zhang et al., CVPR 2021). Since the first session has most classes, that hides who never
learns anything new: hence the harmonic mean of its classes and later ones (Peng et al., ECCV 2022).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

from mmcl.evaluation.summaries import Array, nan_mean, step_accuracy_weighted, weighted_nan_mean


class SessionScores(NamedTuple):
    """In percent, after every session; NaN where nothing is known, as of later classes in the first session.

    Attributes:
        seen: on the classes of all sessions so far.
        first: on the classes of the first session.
        later: on the classes of the sessions after it.
        harmonic: ``2 first later / (first + later)``.
        average: mean of ``seen``.
        drop: ``seen`` of the first session minus that of the last, PD.
    """

    seen: Float64[Array, " T"]
    first: Float64[Array, " T"]
    later: Float64[Array, " T"]
    harmonic: Float64[Array, " T"]
    average: float
    drop: float


def session_scores(R: Float64[Array, "T N"], n: ArrayLike) -> SessionScores:
    """The scores of sessions that have been learned.

    Args:
        R: accuracy on test set j after learning session i, without the row before training; T is 1 or more.
        n: samples of every test set, N numbers.
    """
    sizes = np.asarray(n, dtype=np.float64)
    seen, first = step_accuracy_weighted(R, sizes), R[:, 0].copy()
    later = np.array([weighted_nan_mean(row[1 : i + 1], sizes[1 : i + 1]) for i, row in enumerate(R)])
    return SessionScores(seen, first, later, harmonic_mean(first, later), nan_mean(seen), float(seen[0] - seen[-1]))


def harmonic_mean(one: Float[Array, "*s"], other: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """``2 a b / (a + b)`` element by element; 0 where both are 0."""
    total = one + other
    return np.asarray(2 * one * other / np.where(total == 0, 1.0, total))
