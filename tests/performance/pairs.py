"""Pairs: two ways to do the same work, timed in alternating order in one process."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Ratio(NamedTuple):
    """Median, smallest and largest of the ratios of all pairs."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


class Stopwatch:
    """CPU time of the steps of an experience, without what comes before and after them; a plugin of the learner."""

    seconds = 0.0

    def before_training_epoch(self, *_: object, **__: object) -> None:
        """Start."""
        self._began = time.process_time()

    def after_training_epoch(self, *_: object, **__: object) -> None:
        """Stop."""
        self.seconds = time.process_time() - self._began


def ratio(first: Callable[[], float], second: Callable[[], float], pairs: int) -> Ratio:
    """The seconds of ``first`` by those of ``second``. Who begins alternates; one pair before warms up."""
    first(), second()
    found = []
    for pair in range(pairs):
        gc.collect()
        if pair % 2:
            below = second()
            above = first()
        else:
            above = first()
            below = second()
        found.append(above / below)
    return Ratio(statistics.median(found), min(found), max(found))
