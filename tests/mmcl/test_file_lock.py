"""Locks of the operating system, and what stands for them where a file system has none."""

import errno
import fcntl
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout

from mmcl.errors import CheckpointError
from mmcl.file_lock import MARKER, acquired
from mmcl.lock import exclusive

FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, as some network file systems."""

    def flock(handle: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def ending(action: Any, *arguments: Any) -> int | None:
    """The exit code of something that is done in another process."""
    process = FORK.Process(target=action, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def take(folder: Path) -> None:
    try:
        with exclusive(folder):
            pass
    except CheckpointError as error:
        os._exit(3 if str(os.getppid()) in error.found and MARKER in error.remedy else 1)


def leave(path: Path) -> None:
    lock = acquired(path)
    os._exit(4 if lock.is_locked else 1)


@pytest.mark.usefixtures("without_locks")
def test_where_a_file_system_has_no_locks_a_file_stands_for_one(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        assert ending(take, tmp_path) == 3
    assert not list(tmp_path.iterdir())
    assert ending(take, tmp_path) == 0


@pytest.mark.usefixtures("without_locks")
def test_a_file_that_a_process_of_this_computer_has_left_holds_nobody_up(tmp_path: Path) -> None:
    assert ending(leave, tmp_path / "it") == 4
    assert (tmp_path / f"it{MARKER}").exists()
    acquired(tmp_path / "it", 30).release()


@pytest.mark.usefixtures("without_locks")
def test_a_file_of_another_computer_is_believed_and_named(tmp_path: Path) -> None:
    (tmp_path / ".lock.json").write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "yesterday"}))
    marker = tmp_path / f".lock{MARKER}"
    marker.write_text("7\nelsewhere\n")
    with pytest.raises(CheckpointError, match=f"process 7 on elsewhere.*remove {marker}"), exclusive(tmp_path):
        pass


def test_a_lock_that_another_process_has_is_not_taken(tmp_path: Path) -> None:
    lock = acquired(tmp_path / "it")
    assert ending(refused, tmp_path / "it") == 0
    lock.release()


def refused(path: Path) -> None:
    with pytest.raises(Timeout):
        acquired(path, 0)


def test_what_is_no_lack_of_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(CheckpointError, match="cannot be locked"), exclusive(tmp_path):
        pass
