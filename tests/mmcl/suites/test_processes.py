"""Calls in processes: never more at a time than there are slots, each ends alone, and none outlives the iterator."""

import os
import signal
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from mmcl.suites.processes import Call, in_processes


def python(code: str) -> Call:
    return exec, (f"import os, signal, sys, time\n{code}",)


def watch(_: Collection[str]) -> None:
    pass


def test_no_more_processes_than_slots_are_at_work_and_all_calls_are_made(tmp_path: Path) -> None:
    seen: list[int] = []
    calls = {str(n): python(f"time.sleep(0.3); open({str(tmp_path / str(n))!r}, 'w').close()") for n in range(5)}
    ended = dict(in_processes(calls, 2, 1, lambda names: seen.append(len(names))))
    assert ended == dict.fromkeys(calls, 0)
    assert max(seen) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(calls)


def test_a_process_that_is_killed_or_exits_with_a_code_ends_alone() -> None:
    killed = python("os.kill(os.getpid(), signal.SIGKILL)")
    ended = dict(in_processes({"killed": killed, "left": python("sys.exit(3)"), "well": python("")}, 1, 1, watch))
    assert ended == {"killed": -signal.SIGKILL, "left": 3, "well": 0}


def test_libraries_are_told_the_number_of_threads_and_this_process_keeps_its_own() -> None:
    before = dict(os.environ)
    code = "sys.exit(int(os.environ['OMP_NUM_THREADS'] == os.environ['MKL_NUM_THREADS']))"
    assert dict(in_processes({"one": python(code)}, 1, 1, watch)) == {"one": 1}
    assert dict(os.environ) == before


def test_processes_at_work_are_ended_when_the_iterator_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    write = f"open({str(file)!r}, 'w').write(str(os.getpid()))"
    calls = {"long": python(f"{write}; time.sleep(600)"), "short": python("time.sleep(1)")}
    with closing(in_processes(calls, 2, 1, watch)) as ends:
        assert next(ends) == ("short", 0)
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
    assert not is_alive(int(file.read_text()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
