"""View: what a person or a program sees of a suite: cells at work, and what each that has ended has found."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmcl.console import redrawn, say_on
from mmcl.escaping import plain
from mmcl.evaluation.comparison import COMPARED, headline
from mmcl.evaluation.report import Results
from mmcl.progress import clock
from mmcl.suites.plan import Cell
from mmcl.suites.standing import step_of

_HEARTBEAT = 60.0  # seconds between two lines where nothing can be drawn over

Work = Mapping[str, tuple[str, float]]  # name of a cell at work -> how far it has come, seconds at work


class Display(ABC):
    """Where a suite is shown. Used as a context, which leaves the terminal as it was."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While cells are at work."""
        yield

    @abstractmethod
    def work(self, standing: str, work: Callable[[], Work]) -> None:
        """What is going on; ``work`` reads files and is called where somebody looks only."""

    @abstractmethod
    def tell(self, event: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """What has happened: a sentence for people, facts for programs."""


class Silent(Display):
    """A view that shows nothing."""

    def work(self, standing: str, work: Callable[[], Work]) -> None:
        """Nothing is shown of a cell at work."""

    def tell(self, event: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Nothing is shown of a sentence."""


class LiveTable(Display):
    """The cells at work in a table that is redrawn, below what has ended.

    Args:
        console: a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While cells are at work; the cursor is there again however it ends."""
        with self._live:
            yield

    def work(self, standing: str, work: Callable[[], Work]) -> None:
        """Show in the table how far a cell is."""
        table = Table(title=standing, title_justify="left")
        for column in ("at work", "experiences", "time"):
            table.add_column(column, overflow="fold")
        for name, (step, seconds) in work().items():
            table.add_row(Text(plain(name)), step, clock(seconds))
        self._live.update(redrawn(table, self.console), refresh=True)

    def tell(self, event: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Print a sentence above the table."""
        say_on(self.console, sentence)


class Lines(Display):
    """A line for everything that happens, and now and then one that the suite goes on.

    Args:
        console: a pipe, a file, or a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._said = time.monotonic()

    def work(self, standing: str, work: Callable[[], Work]) -> None:
        """A line after a while."""
        if time.monotonic() - self._said > _HEARTBEAT:
            self._said = time.monotonic()
            cells = (f"{name} ({step})" if step else name for name, (step, _) in work().items())
            say_on(self.console, f"{standing}; at work: {', '.join(cells)}")

    def tell(self, event: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Print a sentence as a line."""
        say_on(self.console, sentence)


class JsonLines(Display):
    """An object in every line: ``work``, ``finished`` and ``failed`` events.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._last: dict[str, str] = {}

    def work(self, standing: str, work: Callable[[], Work]) -> None:
        """``{"event": "work", "cells": {...}}`` when a cell has begun, or learned another experience."""
        cells = {name: step for name, (step, _) in work().items()}
        if cells != self._last:
            self._last = cells
            self.tell("work", standing, {"cells": cells})

    def tell(self, event: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Print a sentence as an object in a line."""
        say_on(self.console, json.dumps({"event": event, **facts}))


def _for_people(console: Console) -> Display:
    return LiveTable(console) if console.is_terminal else Lines(console)


DISPLAYS: Mapping[str, Callable[[Console], Display]] = {
    "auto": _for_people,
    "plain": Lines,
    "json": JsonLines,
    "off": lambda _: Silent(),
}


class View:
    """Counts what becomes of the cells of a suite, and says so.

    Args:
        display: where it is shown.
        cells: of the suite, by their names.
        waiting: how many of them are to be run.
    """

    def __init__(self, display: Display, cells: Mapping[str, Cell], waiting: int) -> None:
        self.display, self.cells, self.waiting = display, cells, waiting
        self.failed = 0
        self._began: dict[str, float] = {}

    def at_work(self, names: Collection[str]) -> None:
        """These are being run."""
        for name in names:
            self._began.setdefault(name, time.monotonic())
        self.display.work(
            self.standing, lambda: {name: (step_of(self.cells[name]), self._seconds(name)) for name in names}
        )

    def finished(self, name: str, results: Results) -> None:
        """The numbers of a cell."""
        self.waiting -= 1
        scores = {word: score for word in COMPARED if (score := headline(results, word)) is not None}
        numbers = "  ".join(f"{word} {score:.1f}" for word, score in scores.items())
        seconds = self._seconds(name)
        facts = {"cell": name, "scores": scores, "seconds": round(seconds, 3)}
        self.display.tell("finished", f"{name}: {numbers}  ({clock(seconds)})", facts)

    def ended(self, name: str, reason: str) -> None:
        """Why a cell has failed."""
        self.waiting, self.failed = self.waiting - 1, self.failed + 1
        self.display.tell("failed", f"{name} failed: {reason}", {"cell": name, "reason": reason})

    @property
    def standing(self) -> str:
        """How many cells have ended, in words."""
        total = len(self.cells)
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{total - self.waiting - self.failed} of {total} cells finished{failed}"

    def _seconds(self, name: str) -> float:
        return time.monotonic() - self._began.get(name, time.monotonic())
