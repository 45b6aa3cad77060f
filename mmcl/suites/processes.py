"""Processes: calls in local processes of their own, so many at a time."""

import multiprocessing
import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

Call = tuple[Callable[..., Any], Sequence[Any]]

_TICK = 0.5  # seconds between two looks
_GRACE = 10.0  # seconds that a process has to end in
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def in_processes(
    calls: Mapping[str, Call], slots: int, threads: int, at_work: Callable[[Collection[str]], None]
) -> Generator[tuple[str, int], None, None]:
    """Make every call in a fresh process, and say as each ends.

    A process that is killed or crashes ends alone. Those at work are ended when the iterator is closed.

    Args:
        calls: name -> function and arguments, all of which can be pickled; begun in this order.
        slots: processes at a time.
        threads: that libraries are told to use in each.
        at_work: called now and then with the names of those at work.

    Yields:
        Name and exit code; the code is the negative number of a signal.
    """
    context = _context()
    waiting, working = list(calls.items()), dict[str, BaseProcess]()
    try:
        while waiting or working:
            while waiting and len(working) < slots:
                name, (function, arguments) = waiting.pop(0)
                process = context.Process(target=function, args=tuple(arguments), name=name)
                with _environment(threads):
                    process.start()
                working[name] = process
            at_work(tuple(working))
            wait([process.sentinel for process in working.values()], _TICK)
            for name in [name for name, process in working.items() if process.exitcode is not None]:
                code = working.pop(name).exitcode
                assert code is not None
                yield name, code
    finally:
        _end(working.values())


def _context() -> Any:
    """Processes forked from one that has imported everything start at once; without fork each imports it again."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["mmcl.suites.cell"])
    return context


def _end(processes: Collection[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)
        if process.exitcode is None:
            process.kill()
            process.join()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Libraries read these when they are loaded, which is when the first process starts."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
