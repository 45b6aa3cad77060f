"""View: what a person sees of a suite: cells at work in a live table, a line with numbers for each that has ended."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmcl.console import say_on
from mmcl.escaping import plain
from mmcl.evaluation.comparison import COMPARED, headline
from mmcl.evaluation.report import Results
from mmcl.suites.plan import Cell
from mmcl.suites.standing import step_of

_HEARTBEAT = 60.0  # seconds between two lines where nothing can be drawn over


class View:
    """Prints on a console; in a terminal the cells at work are redrawn below what has ended.

    Args:
        console: where to.
        cells: of the suite, by their names.
        waiting: how many of them are to be run.
    """

    def __init__(self, console: Console, cells: Mapping[str, Cell], waiting: int) -> None:
        self.console, self.cells, self.waiting = console, cells, waiting
        self.failed = 0
        self._began: dict[str, float] = {}
        self._live: Live | None = None
        self._said = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While cells are at work."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live:
            yield

    def at_work(self, names: Collection[str]) -> None:
        """Redraw the table, or say now and then that the suite goes on."""
        now = time.monotonic()
        for name in names:
            self._began.setdefault(name, now)
        if self._live is not None:
            self._live.update(self._table(names, now), refresh=True)
        elif now - self._said > _HEARTBEAT:
            self._said = now
            steps = ((name, step_of(self.cells[name])) for name in names)
            self._line(f"{self._standing()}; at work: {', '.join(f'{n} ({s})' if s else n for n, s in steps)}")

    def finished(self, name: str, results: Results) -> None:
        """The line of a cell with its numbers."""
        self.waiting -= 1
        scores = ((word, headline(results, word)) for word in COMPARED)
        numbers = "  ".join(f"{word} {score:.1f}" for word, score in scores if score is not None)
        self._line(f"{name}: {numbers}  ({self._seconds(name)})")

    def ended(self, name: str, reason: str) -> None:
        """The line of a cell that has failed."""
        self.waiting, self.failed = self.waiting - 1, self.failed + 1
        self._line(f"{name} failed: {reason}")

    def _table(self, names: Collection[str], now: float) -> Table:
        table = Table(title=self._standing(), title_justify="left")
        for column in ("at work", "experiences", "time"):
            table.add_column(column, overflow="fold")
        for name in names:
            table.add_row(Text(plain(name)), step_of(self.cells[name]), _clock(now - self._began[name]))
        return table

    def _standing(self) -> str:
        total = len(self.cells)
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{total - self.waiting - self.failed} of {total} cells finished{failed}"

    def _seconds(self, name: str) -> str:
        return _clock(time.monotonic() - self._began.get(name, time.monotonic()))

    def _line(self, text: str) -> None:
        say_on(self.console, text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
