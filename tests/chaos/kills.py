"""Kills: SIGKILL at any call of a function and at any change of a file, once or twice in a run."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .ledger import Ledger
from .trial import COMPOSITIONS, begin, differences, go_on, in_child, reference

_CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")


class Trap:
    """Counts events and ends the process at one of them.

    Args:
        at: the number of that event; 0 for none.
        notes: where the count is written at the end, for a trap that ends nothing.
    """

    def __init__(self, at: int, notes: Path) -> None:
        self.at, self.notes, self.count = at, notes, 0
        self.tear: Callable[[], None] = int

    def at_calls(self) -> None:
        """Count calls of functions written in Python."""

        def called(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                self._step()

        sys.setprofile(called)

    def at_changes_below(self, folder: Path) -> None:
        """Count what changes files and folders in a place, just before it happens."""
        place = str(folder)

        def audited(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _CHANGES and isinstance(arguments[0], (str, os.PathLike)):
                reads = event == "open" and isinstance(arguments[2], int) and not arguments[2] & os.O_ACCMODE
                if os.fspath(arguments[0]).startswith(place) and not reads:
                    self._step()

        sys.addaudithook(audited)

    def write_count(self) -> None:
        """For a trap that ends nothing."""
        sys.setprofile(None)
        self.notes.write_text(str(self.count))

    def _step(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.tear()
            os.kill(os.getpid(), signal.SIGKILL)


def kills(count: int, dice: random.Random, folder: Path) -> list[Ledger]:
    """Half of them at calls, half at changes of files; then the run goes on and must end as an undisturbed one."""
    ledgers = []
    for part, arm, trials in (
        ("kills at any call", _at_calls, count // 2),
        ("kills at changes of files", _at_changes, count - count // 2),
    ):
        ledger = Ledger(part)
        for trial in range(trials):
            _trial(ledger, COMPOSITIONS[trial % len(COMPOSITIONS)], arm, dice, folder)
        ledgers.append(ledger)
    return ledgers


Arm = Callable[[Trap, Path], None]


def _at_calls(trap: Trap, out: Path) -> None:
    trap.at_calls()


def _at_changes(trap: Trap, out: Path) -> None:
    trap.at_changes_below(out)


def _trial(ledger: Ledger, strategies: tuple[str, ...], arm: Arm, dice: random.Random, folder: Path) -> None:
    expected, out = reference(folder, strategies), folder / "trial"
    shutil.rmtree(out, ignore_errors=True)
    total, moments = _events(strategies, arm, folder), []
    for action in (begin, go_on)[: dice.choice((1, 1, 2))]:
        trap = Trap(dice.randrange(1, total + 1), folder / "count")
        if dice.random() < 0.5:
            trap.tear = _tearing(out, dice.random())
        moments.append(trap.at)
        ending = in_child(lambda: action(out, strategies), folder, lambda: arm(trap, out))  # noqa: B023
        if ending.code not in (0, -signal.SIGKILL):
            ledger.note(f"{strategies} killed at {moments}", ending, may_refuse=False)
            return
    ending = in_child(lambda: go_on(out, strategies), folder)
    difference = "" if ending.code else differences(expected, out)
    ledger.note(f"{strategies} killed at {moments}", ending, difference, may_refuse=False)


def _events(strategies: tuple[str, ...], arm: Arm, folder: Path) -> int:
    """How many events a run has."""
    out, notes = folder / "counted", folder / f"{arm.__name__}-{'-'.join(strategies)}".replace(":", "-")
    if not notes.exists():
        shutil.rmtree(out, ignore_errors=True)
        trap = Trap(0, notes)
        ending = in_child(lambda: (begin(out, strategies), trap.write_count()), folder, lambda: arm(trap, out))
        assert ending.code == 0, ending.said
    return int(notes.read_text())


def _tearing(out: Path, share: float) -> Callable[[], None]:
    """Cut what was being written: a kill may come in the middle of it."""

    def tear() -> None:
        drafts = [path for path in out.rglob("*") if path.is_file() and _is_draft(path.relative_to(out))]
        if drafts:
            newest = max(drafts, key=lambda path: path.stat().st_mtime_ns)
            os.truncate(newest, int(share * newest.stat().st_size))

    return tear


def _is_draft(path: Path) -> bool:
    return path.name.endswith(".new") or path.parts[0].startswith(".checkpoint-")
