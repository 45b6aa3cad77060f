"""Suite: refuse what cannot be run, skip what is finished, run and continue the rest, collect what failed.

    result = mmcl.run_suite("night.toml", cores=4)
    result.cells["cifar100/zscl/seed0"].summary

Every cell is the run that ``mmcl run`` makes of its configuration, number for number.
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl.console import make_console
from mmcl.errors import ConfigError, MMCLError
from mmcl.evaluation.comparison import Comparison, compare_results
from mmcl.evaluation.frame import frame
from mmcl.options import wrong_value
from mmcl.results import RunResult
from mmcl.run_folder import RunFolder
from mmcl.suites.cell import STOPPED, learn
from mmcl.suites.plan import Cell, plan, read_suite
from mmcl.suites.processes import in_processes
from mmcl.suites.standing import finished, log_of, require_composable
from mmcl.suites.view import DISPLAYS, View
from mmcl.trust import require_trusted
from mmcl.views import chosen


@dataclass(frozen=True)
class SuiteResult:
    """What a suite has found.

    Attributes:
        cells: name -> result, of those that have been run to their end, in the order of the suite.
        failed: name -> reason, of the others.
    """

    cells: dict[str, RunResult]
    failed: dict[str, str]

    def compare(self, against: str | None = None) -> Comparison:
        """The finished cells side by side, as ``mmcl.compare`` has it."""
        return compare_results([result.results for result in self.cells.values()], against)

    def frame(self) -> Any:
        """Every score of every finished cell in a ``pandas.DataFrame``, as ``RunResult.frame`` has it."""
        return frame(result.results for result in self.cells.values())


def run_suite(
    suite: str | Path | Mapping[str, Any],
    *,
    cores: int | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    quiet: bool = False,
    trust: bool = False,
    progress: str = "auto",
) -> SuiteResult:
    """Run a suite, or what is left of it.

    In a script, call it below ``if __name__ == "__main__":``, for the processes of its cells import the script.

    Args:
        suite: its TOML file, or the content of one (``docs/suites.md``).
        cores: of the processor that cells may use together; by default all there are.
        threads: that every cell computes with. Other numbers of threads may change the last digits of a run.
        out: a folder instead of the one that the file names.
        quiet: show nothing, as ``progress="off"`` does.
        trust: let code run that the file names, although nobody has registered it (``mmcl.trust``).
        progress: ``"auto"`` (a table on a terminal, else lines), ``"plain"`` (lines), ``"json"`` (an object in every
            line) or ``"off"``.

    Raises:
        PluginError: if the file names such code, and it is not trusted.
        ConfigError: if the suite is wrong, a cell cannot be run, or a folder holds another run. Nothing is run then.
    """
    who = "suite" if isinstance(suite, Mapping) else f"suite {suite}"
    _require_main_process(who)
    slots = _slots(cores, threads)
    display = chosen("off" if quiet else progress, DISPLAYS)(make_console())
    content = suite if isinstance(suite, Mapping) else read_suite(Path(suite))
    cells = {cell.name: cell for cell in plan(content, who, None if out is None else str(out))}
    if not isinstance(suite, Mapping):
        for cell in cells.values():
            require_trusted(cell.config, who, Path(suite).parent, trust)
    require_composable(list(cells.values()), who)
    waiting = {name: cell for name, cell in cells.items() if not finished(cell)}
    view = View(display, cells, len(waiting))
    failed: dict[str, str] = {}
    _make_room(waiting)
    calls = {name: (learn, (cell.config, threads, str(log_of(cell)))) for name, cell in waiting.items()}
    with display.shown(), closing(in_processes(calls, slots, threads, view.at_work)) as ends:
        for name, code in ends:
            try:
                if code != 0:
                    raise _failure(cells[name], code)
                view.finished(name, RunFolder.open(cells[name].folder).results)
            except MMCLError as error:
                failed[name] = error.found
                view.ended(name, error.found)
    done = {name: cell for name, cell in cells.items() if name not in failed}
    return SuiteResult(
        {name: RunResult(cell.folder, RunFolder.open(cell.folder).results) for name, cell in done.items()}, failed
    )


def _make_room(cells: Mapping[str, Cell]) -> None:
    """Folders for runs and logs, and no log of an earlier attempt."""
    for name, cell in cells.items():
        try:
            cell.folder.parent.mkdir(parents=True, exist_ok=True)
            log_of(cell).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cell {name}",
                found=f"its folder cannot be made ({error})",
                allowed="a place where folders can be made",
                remedy="Choose another out.",
            ) from error


def _failure(cell: Cell, code: int) -> MMCLError:
    if code < 0:
        reason = f"killed by {signal.Signals(-code).name}"
    elif code == STOPPED:
        reason = "stopped by SIGTERM"
    else:
        lines = log_of(cell).read_text("utf-8", "replace").splitlines() if log_of(cell).is_file() else []
        reason = next((line for line in reversed(lines) if line.strip()), "it said nothing").removeprefix("error: ")
    return MMCLError(cell.name, found=reason, allowed="a run to its end", remedy=f"See {log_of(cell)}.")


def _slots(cores: int | None, threads: int) -> int:
    available = os.cpu_count() or 1 if cores is None else cores
    for name, value in (("cores", available), ("threads", threads)):
        if value < 1:
            raise wrong_value(f"suite: {name}", value, "1 or more")
    if threads > available:
        raise ConfigError(
            "suite: threads",
            found=f"{threads} for every cell with {available} cores for all",
            allowed=f"1 to {available}",
            remedy="Give the suite more cores or its cells fewer threads.",
        )
    return available // threads


def _require_main_process(who: str) -> None:
    if multiprocessing.parent_process() is not None:
        raise ConfigError(
            who,
            found="it is begun in a process that another Python process has started",
            allowed="the process that a person has started, for a suite starts processes itself",
            remedy='In a script, put the call below if __name__ == "__main__":, for the processes of cells import the '
            "script; elsewhere, begin the suite before other processes.",
        )
