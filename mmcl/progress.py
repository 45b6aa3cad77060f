"""Progress: what a person or a program sees while a run is going on."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from mmcl.console import make_console, say_on
from mmcl.errors import ConfigError, nearest
from mmcl.escaping import plain
from mmcl.evaluation.loggers import RunLogger

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner

_HEARTBEAT = 30.0  # seconds between two lines where nothing can be drawn over


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
        return {**asdict(self), "loss": _finite(self.loss), "terms": {n: _finite(v) for n, v in self.terms.items()}}

    @property
    def values(self) -> str:
        """The terms in one line."""
        return "  ".join(f"{plain(name)} {value:.3f}" for name, value in self.terms.items())


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
    def phase(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Something that is not training; call what it yields after each part."""
        yield lambda: None


class Silent(View):
    """Shows nothing."""

    def step(self, moment: Moment) -> None:
        """Nothing."""

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """Nothing."""


class Bar(View):
    """A bar for the run and one for what it is at, which are redrawn, below the rows of the matrix.

    Args:
        console: a terminal or a notebook.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
        )
        self._run: TaskID | None = None
        self._part: tuple[str, TaskID] | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the run is going on; the cursor is there again however it ends."""
        with self._progress:
            yield

    def step(self, moment: Moment) -> None:
        """Redraw both bars."""
        if self._run is None:
            self._run = self._progress.add_task("run", detail="")
        left = f"{clock(moment.left)} left"
        self._progress.update(self._run, completed=moment.done, total=moment.total, detail=left)
        name = f"learn {moment.index + 1}: {plain(moment.experience)}"
        if self._part is None or self._part[0] != name:
            self._clear()
            self._part = name, self._progress.add_task(name, total=moment.steps, detail="")
        self._progress.update(self._part[1], completed=moment.step, detail=moment.values)

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """Above the bars."""
        say_row(self.console, row, scores)

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar of its own."""
        self._clear()
        task = self._progress.add_task(plain(name), total=total, detail="")
        yield lambda: self._progress.advance(task)
        self._progress.remove_task(task)

    def _clear(self) -> None:
        if self._part is not None:
            self._progress.remove_task(self._part[1])
        self._part = None


class Heartbeat(View):
    """A line for every experience, now and then one while it is learned, and the rows of the matrix.

    Args:
        console: a pipe, a file, or a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._said = 0.0
        self._at = -1

    def step(self, moment: Moment) -> None:
        """A line if an experience begins or ends, or after a while."""
        now = time.monotonic()
        if moment.index == self._at and now - self._said < _HEARTBEAT and moment.step < moment.steps:
            return
        self._at, self._said = moment.index, now
        share = f"{100 * moment.done / max(1, moment.total):.0f} % of the run, {clock(moment.left)} left"
        where = f"learn {moment.index + 1}: {plain(moment.experience)}: step {moment.step} of {moment.steps}"
        say_on(self.console, f"{where} ({share})  {moment.values}")

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """A line."""
        say_row(self.console, row, scores)


class JsonLines(View):
    """An object in every line: ``step``, ``phase`` and ``row`` events.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def step(self, moment: Moment) -> None:
        """``{"event": "step", ...}`` with all that is known of it."""
        self.write("step", moment.to_dict())

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """``{"event": "row", "row": ..., "scores": {...}}``."""
        self.write("row", {"row": row, "scores": {name: _finite(score) for name, score in scores.items()}})

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """``{"event": "phase", "name": ...}`` when it begins."""
        self.write("phase", {"name": name})
        yield lambda: None

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """A line."""
        say_on(self.console, json.dumps({"event": event, **facts}))


def _for_people(console: Console) -> View:
    return Bar(console) if console.is_terminal or console.is_jupyter else Heartbeat(console)


VIEWS: Mapping[str, Callable[[Console], View]] = {
    "auto": _for_people,
    "plain": Heartbeat,
    "json": JsonLines,
    "off": lambda _: Silent(),
}


def make_view(name: str) -> View:
    """The view of a name, on standard output.

    Raises:
        ConfigError: if there is none.
    """
    if name not in VIEWS:
        raise ConfigError("progress", found=f"{name!r}", allowed=", ".join(VIEWS), remedy=nearest(name, VIEWS))
    return VIEWS[name](make_console())


def say_row(console: Console, row: str, scores: Mapping[str, float]) -> None:
    """Print a row of the result matrix."""
    cells = "  ".join(f"{name} {score:.1f}" for name, score in scores.items())
    console.print(Text.assemble("  ", (plain(row), "bold"), f": {plain(cells)}", overflow="fold"))


def clock(seconds: float) -> str:
    """``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _finite(value: float) -> float | None:
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
