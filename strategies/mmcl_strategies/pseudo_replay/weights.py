"""What new and replayed data count: the weights of the two losses, as functions of counts."""

from typing import NamedTuple


class Weights(NamedTuple):
    """Factors of the two losses; they add up to one."""

    new: float
    replayed: float


NOTHING_REPLAYED = Weights(1.0, 0.0)


def by_experiences(experiences: int, replayed: bool = True) -> Weights:
    """``r = 1/T`` and ``1 - r`` (DGR): every experience counts the same.

    Args:
        experiences: T, those seen so far including the current one.
        replayed: whether there is anything to replay; if not, ``r = 1``.
    """
    return by_ratio(1 / experiences) if replayed else NOTHING_REPLAYED


def by_ratio(ratio: float) -> Weights:
    """``r`` and ``1 - r``."""
    return Weights(ratio, 1 - ratio)


def old_factor(first_classes: int, classes: int, experience: int) -> int:
    """``k = n0 // n + t - 1`` (GFR): how many experiences of today's size the old classes make up; at first none.

    A first experience that is smaller than today's counts as one, where ``n0 // n`` would forget it.

    Args:
        first_classes: n0, classes of the first experience.
        classes: n, classes of the current experience.
        experience: t, 0 for the first experience.
    """
    return max(first_classes // classes, 1) + experience - 1 if experience else 0


def by_classes(factor: int) -> Weights:
    """``1 / (k + 1)`` and ``k / (k + 1)`` with ``k + 1 = n0 // n + t`` (GFR): every class counts the same.

    Args:
        factor: k of ``old_factor``.
    """
    return by_ratio(1 / (factor + 1))
