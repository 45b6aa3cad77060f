"""Progress: what can be seen of a run while it is going on."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from mmcl.escaping import plain
from mmcl.evaluation.loggers import RunLogger

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner

Advance = Callable[[str], None]  # to be called after each part of a phase with the part's name


@dataclass(frozen=True)
class Moment:
    """A training step that was read.

    Attributes:
        experience: its name.
        index: its place in the stream, from 0.
        step: in the experience, from 1.
        steps: that the experience has.
        iteration: step of the run, from 1.
        loss: the sum of its terms.
        terms: name -> value, of the loss and of the gradient.
        rates: learning rates, ascending.
        seconds: since training on the experience began.
        done: steps of the run so far.
        total: steps that the run will have, as far as is known.
        left: seconds until then, evaluations included.
    """

    experience: str
    index: int
    step: int
    steps: int
    iteration: int
    loss: float
    terms: Mapping[str, float]
    rates: Sequence[float]
    seconds: float
    done: int
    total: int
    left: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, ``None`` for what is not finite."""
        return {**vars(self), "loss": finite(self.loss), "terms": {n: finite(v) for n, v in self.terms.items()}}

    @property
    def values(self) -> str:
        """The terms in one line."""
        return "  ".join(f"{plain(name)} {value:.3f}" for name, value in self.terms.items())


class Course:
    """How far something that has parts has come.

    Args:
        total: number of parts.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._began = time.monotonic()

    def advance(self) -> None:
        """Another part is done."""
        self.done += 1

    @property
    def left(self) -> float:
        """Seconds until all are."""
        return (time.monotonic() - self._began) / max(1, self.done) * (self.total - self.done)


class View(ABC):
    """Shows a run. Used as a context, which leaves the terminal as it was."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the run is going on."""
        yield

    @abstractmethod
    def step(self, moment: Moment) -> None:
        """A step that was read."""

    @abstractmethod
    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """A row of the result matrix."""

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """Something that is not training, in parts; call what it yields after each, with the part's name."""
        yield lambda part: None


def say_row(console: Console, row: str, scores: Mapping[str, float]) -> None:
    """Print a row of the result matrix."""
    cells = "  ".join(f"{name} {score:.1f}" for name, score in scores.items())
    console.print(Text.assemble("  ", (plain(row), "bold"), f": {plain(cells)}", overflow="fold"))


def clock(seconds: float) -> str:
    """A duration as ``h:mm:ss``, whatever its length."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def finite(value: float) -> float | None:
    """``None`` for what JSON has no number for."""
    return value if isfinite(value) else None


class LogTerms:
    """Hands every loss term to the loggers, also those added on the gradient side."""

    def __init__(self, loggers: Sequence[RunLogger]) -> None:
        self.loggers = loggers

    def before_update(self, learner: "Learner", **_: object) -> None:
        """Log all terms of this step, at the weights they were computed with."""
        terms = {name: value.item() for name, value in learner.loss_terms.items()}
        terms |= {name: function().item() for name, function in learner.gradient_values.items()}
        for logger in self.loggers:
            for name, value in terms.items():
                logger.scalar(f"loss/{name}", value, learner.clock.train_iterations)
