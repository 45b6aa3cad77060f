"""Statistics over seeds: Student's interval, the paired t-test, Holm's correction."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev

LEVEL = 0.95
_SAME = 1e-9  # differences that vary by less than this share of the scores are rounding


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean; ``None`` without values."""
    return fmean(values) if values else None


def half_width(values: Sequence[float], level: float = LEVEL) -> float | None:
    """Half the width of Student's interval for the mean; ``None`` for fewer than two values.

    ``t(level, n - 1) * s / sqrt(n)`` with the standard deviation ``s`` of the sample.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, len(values) - 1) * stdev(values) / sqrt(len(values)))


def paired_p(one: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    """Two-sided p of the paired t-test over the keys that both have.

    ``None`` where the test is undefined: fewer than two pairs, or differences that are all the same.
    """
    keys = sorted(one.keys() & other.keys())
    differences = [one[key] - other[key] for key in keys]
    largest = max((abs(values[key]) for values in (one, other) for key in keys), default=0.0)
    if len(keys) < 2 or stdev(differences) <= _SAME * largest:
        return None
    from scipy.stats import ttest_rel

    return float(ttest_rel([one[key] for key in keys], [other[key] for key in keys]).pvalue)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Scand. J. Statistics 6, 1979); tests that are ``None`` do not count."""
    order = sorted((p, position) for position, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, position) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[position] = largest
    return corrected
