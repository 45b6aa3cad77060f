"""Power: what a disk holds at a moment of a run is all that is left, as when the power fails.

The run folder lies on an ext4 file system in a file. A copy of that file has what was flushed and nothing else.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcl.run_folder import RunFolder

from .ledger import Ledger
from .trial import COMPOSITIONS, begin, differences, go_on, in_child, reference, start, wait

_SIZE = 48 * 2**20


def cuts(count: int, dice: random.Random, folder: Path) -> Ledger:
    """The run goes on from the last experience that it has called finished, or later, to the same numbers."""
    ledger = Ledger("power cuts")
    ledger.skipped = _obstacle(folder)
    for trial in range(0 if ledger.skipped else count):
        _trial(ledger, COMPOSITIONS[trial % len(COMPOSITIONS)], dice, folder)
    return ledger


def _trial(ledger: Ledger, strategies: tuple[str, ...], dice: random.Random, folder: Path) -> None:
    disk, left, errors = folder / "disk.img", folder / "left.img", folder / "errors.txt"
    expected, out, moment = reference(folder, strategies), folder / "trial", dice.random()
    _format(disk)
    with _mounted(disk, folder / "disk") as place:
        errors.unlink(missing_ok=True)
        child = start(lambda: begin(place / "run", strategies), errors)
        began = time.monotonic()
        while time.monotonic() - began < moment * _duration(expected):
            time.sleep(0.002)
        os.kill(child, signal.SIGSTOP)
        said = _done(place / "run")
        shutil.copyfile(disk, left)
        os.kill(child, signal.SIGKILL)
        wait(child, errors)
    shutil.rmtree(out, ignore_errors=True)
    with _mounted(left, folder / "left") as place:
        if (place / "run").exists():
            shutil.copytree(place / "run", out)
    what = f"{strategies} after {moment:.3f} of a run"
    if (kept := _done(out)) < said:
        ledger.faults.append(f"{what}: {kept} experiences are left of {said}")
        return
    ending = in_child(lambda: go_on(out, strategies), folder)
    ledger.note(what, ending, "" if ending.code else differences(expected, out), may_refuse=False)


def _done(run: Path) -> int:
    """Rows of a run so far, the one before training included."""
    progress = RunFolder(run).progress
    return 0 if progress is None else 1 + int(progress["experiences_done"])


def _duration(run: Path) -> float:
    """Seconds that a run has taken, from its files."""
    times = [path.stat().st_mtime for path in run.rglob("*") if path.is_file()]
    return 1.5 * (max(times) - min(times)) + 1.0


def _format(disk: Path) -> None:
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, capture_output=True)


@contextmanager
def _mounted(disk: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


def _obstacle(folder: Path) -> str:
    """Why no disk can be made in a file; empty if one can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can mount a file system"
    if not shutil.which("mkfs.ext4") or not shutil.which("mount"):
        return "mkfs.ext4 and mount are not there"
    try:
        _format(folder / "disk.img")
        with _mounted(folder / "disk.img", folder / "disk"):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"a file system in a file cannot be mounted ({error})"
