"""One process at a time writes to a run folder."""

import json
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from mmcl.claim import claimed
from mmcl.errors import CheckpointError
from mmcl.lock import HOLDER, exclusive

FORK = multiprocessing.get_context("fork")


def hold(folder: Path, ready: Any) -> None:
    with exclusive(folder):
        ready.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """Another process that holds the folder."""
    ready = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_refused_and_told_who_holds_the_folder(holder: Any, tmp_path: Path) -> None:
    since = json.loads((tmp_path / HOLDER).read_text())["since"]
    with pytest.raises(CheckpointError) as refusal, exclusive(tmp_path):
        pass
    for fact in (str(holder.pid), socket.gethostname(), since):
        assert fact in refusal.value.found


def test_the_lock_of_a_process_that_was_killed_is_taken_over(holder: Any, tmp_path: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (tmp_path / HOLDER).exists()
    with exclusive(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()


def hold_with_a_worker(folder: Path, ready: Any) -> None:
    with exclusive(folder):
        if os.fork() == 0:
            ready.set()
            signal.alarm(2)  # a worker that notices only then that its parent is gone
            signal.pause()
        signal.pause()


def test_a_folder_that_workers_of_a_killed_process_still_hold_is_waited_for(tmp_path: Path) -> None:
    ready = FORK.Event()
    process = FORK.Process(target=hold_with_a_worker, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    with exclusive(tmp_path):
        pass


def test_nothing_of_a_lock_remains(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def take(folder: Path, start: Any, done: Any, outcomes: Any) -> None:
    start.wait()
    try:
        with claimed(folder):
            outcomes.put("taken")
            done.wait()
    except CheckpointError:
        outcomes.put("refused")


@pytest.mark.parametrize("attempt", range(5))
def test_of_processes_that_claim_a_folder_at_the_same_time_exactly_one_gets_it(attempt: int, tmp_path: Path) -> None:
    start, done, outcomes = FORK.Barrier(4), FORK.Event(), FORK.SimpleQueue()
    processes = [FORK.Process(target=take, args=(tmp_path / "run", start, done, outcomes)) for _ in range(4)]
    for process in processes:
        process.start()
    assert sorted(outcomes.get() for _ in processes) == ["refused", "refused", "refused", "taken"]
    done.set()
    for process in processes:
        process.join()
    assert not (tmp_path / "run").exists()  # nothing was begun in it
