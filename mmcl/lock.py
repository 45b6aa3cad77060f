"""Lock: one process at a time writes to a run folder.

The operating system holds the lock for the process and lets go of it when the process ends, however it ends. A file
beside it says who that is.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from mmcl.errors import CheckpointError
from mmcl.file_lock import MARKER, acquired

LOCK, HOLDER = ".lock", ".lock.json"
MARKED = f"{LOCK}{MARKER}"

_PATIENCE = 30.0  # seconds; workers of a process that was killed hold its lock until they notice


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder that exists.

    Raises:
        CheckpointError: if another process does, naming it, or if the folder cannot be written.
    """
    with _writing(folder):
        lock = _lock_of(folder)
    try:
        with _writing(folder):
            (folder / HOLDER).write_text(json.dumps(_myself()), encoding="utf-8")
        yield
    finally:
        for name in (HOLDER, LOCK):
            with suppress(OSError):  # Windows removes the second one itself
                (folder / name).unlink()
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"run folder {folder}",
            found=f"it cannot be locked ({error})",
            allowed="a writable folder",
            remedy="Change its permissions, free space, or work on a copy of it.",
        ) from error


def _lock_of(folder: Path) -> BaseFileLock:
    try:
        return acquired(folder / LOCK, 0)
    except Timeout:
        holder = _holder(folder)
        if _is_dead(holder):
            with suppress(Timeout):
                return acquired(folder / LOCK, _PATIENCE)
        left = f" If it is gone, remove {folder / MARKED}." if (folder / MARKED).exists() else ""
        raise CheckpointError(
            f"run folder {folder}",
            found=f"{_sentence(holder)} is writing to it",
            allowed="one process at a time",
            remedy=f"Wait for that process or end it; then 'mmcl resume' goes on with what it has left.{left}",
        ) from None


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }


def _holder(folder: Path) -> dict[str, Any]:
    """Who has the lock; empty in the moment before it is written."""
    try:
        stored = json.loads((folder / HOLDER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _sentence(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (since {holder.get('since')})"


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether it was a process of this host that is gone."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
