"""Views: a run as bars, as lines, as objects, or not at all."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from mmcl.console import make_console, redrawn, say_on
from mmcl.errors import ConfigError, nearest
from mmcl.escaping import plain
from mmcl.progress import Advance, Course, Moment, View, clock, finite, say_row

T = TypeVar("T")

_HEARTBEAT = 30.0  # seconds between two lines where nothing can be drawn over
_ROOMY = 60  # columns from which on there is room for bars
_REDRAWN = 0.5  # seconds between two pictures of the bars
_RARELY = 100  # times as long as drawing one takes, at least
_PAUSE = 0.5  # seconds between two objects about parts of one phase


class Silent(View):
    """A view that shows nothing."""

    def step(self, moment: Moment) -> None:
        """Nothing is shown of a step."""

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """Nothing is shown of a row of the matrix."""


class Bar(View):
    """A bar for the run, one for what it is at, and the terms of the loss, redrawn below the rows of the matrix.

    Args:
        console: a terminal or a notebook.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        bar = [BarColumn(bar_width=20)] if console.width >= _ROOMY else []
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
            *bar,
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
        )
        self._due_at = 0.0
        self._values = ""
        self._run: TaskID | None = None
        self._part: tuple[str, TaskID] | None = None
        self._live = Live(get_renderable=self._picture, console=console, auto_refresh=False, transient=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the run is going on; the cursor is there again however it ends."""
        with self._live:
            yield

    def step(self, moment: Moment) -> None:
        """Redraw both bars and the terms, now and then."""
        name = f"learn {moment.index + 1}: {plain(moment.experience)}"
        begins = self._part is None or self._part[0] != name
        if not (begins or moment.step == moment.steps or self._due()):
            return
        if self._run is None:
            self._run = self._bars.add_task("run", detail="")
        self._bars.update(self._run, completed=moment.done, total=moment.total, detail=f"{clock(moment.left)} left")
        if begins:
            self._clear()
            self._part = name, self._bars.add_task(name, total=moment.steps, detail="")
        assert self._part is not None
        self._bars.update(self._part[1], completed=moment.step)
        self._draw(moment.values)

    def row(self, row: str, scores: Mapping[str, float]) -> None:
        """Print a row of the matrix above the bars."""
        say_row(self.console, row, scores)

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """A bar of its own."""
        self._clear()
        course, task = Course(total), self._bars.add_task(plain(name), total=total, detail="")
        self._draw("")

        def advance(part: str) -> None:
            course.advance()
            if course.done == total or self._due():
                self._bars.update(task, completed=course.done, detail=f"{clock(course.left)} left")
                self._draw(plain(part))

        yield advance
        self._bars.remove_task(task)

    def _clear(self) -> None:
        if self._part is not None:
            self._bars.remove_task(self._part[1])
        self._part = None

    def _due(self) -> bool:
        return time.monotonic() > self._due_at

    def _draw(self, values: str) -> None:
        self._values, began = values, time.monotonic()
        self._live.refresh()
        drawn = time.monotonic()
        self._due_at = drawn + max(_REDRAWN, _RARELY * (drawn - began))

    def _picture(self) -> RenderableType:
        return redrawn(Group(self._bars, Text(self._values, overflow="fold")), self.console)


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
        """Print a row of the matrix as a line."""
        say_row(self.console, row, scores)

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """A line after a while."""
        course, self._said = Course(total), time.monotonic()

        def advance(part: str) -> None:
            course.advance()
            if time.monotonic() - self._said > _HEARTBEAT:
                self._said = time.monotonic()
                say_on(self.console, f"{name}: {course.done} of {total} ({part}), {clock(course.left)} left")

        yield advance


class JsonLines(View):
    """An object in every line: ``step``, ``phase``, ``part`` and ``row`` events.

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
        self.write("row", {"row": row, "scores": {name: finite(score) for name, score in scores.items()}})

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """``{"event": "phase", "name": ..., "total": ...}`` when it begins, ``part`` events now and then."""
        self.write("phase", {"name": name, "total": total})
        course, said = Course(total), time.monotonic()

        def advance(part: str) -> None:
            nonlocal said
            course.advance()
            if time.monotonic() - said > _PAUSE:
                said = time.monotonic()
                self.write("part", {"name": part, "done": course.done, "total": total, "left": course.left})

        yield advance

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """Print an object in a line of its own."""
        print(
            json.dumps({"event": event, **facts}), file=self.console.file, flush=True
        )  # rich takes longer than a step


def _for_people(console: Console) -> View:
    return Bar(console) if console.is_terminal or console.is_jupyter else Heartbeat(console)


VIEWS: Mapping[str, Callable[[Console], View]] = {
    "auto": _for_people,
    "plain": Heartbeat,
    "json": JsonLines,
    "off": lambda _: Silent(),
}


def make_view(name: str, quiet: bool = False) -> View:
    """The view of a name, on standard output; none if it is to be quiet.

    Raises:
        ConfigError: if there is none of this name.
    """
    return chosen("off" if quiet else name, VIEWS)(make_console())


def chosen(name: str, views: Mapping[str, T]) -> T:
    """What a name stands for.

    Raises:
        ConfigError: if it stands for nothing.
    """
    if name not in views:
        raise ConfigError("progress", found=f"{name!r}", allowed=", ".join(views), remedy=nearest(name, views))
    return views[name]
