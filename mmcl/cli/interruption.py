"""What happens when a command is interrupted: by Ctrl-C, or by the SIGTERM of a batch system."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mmcl.cli.terminal import Shown, tell


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextmanager
def interruptible(what_remains: Callable[[], str], progress: Shown = Shown.auto) -> Iterator[None]:
    """End the command with a sentence and the exit code of the signal, 130 or 143.

    Args:
        what_remains: says what is kept and how to go on, at the time of the interruption.
        progress: how the command is shown.
    """
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _terminate_in(os.getpid()))
    try:
        yield
    except KeyboardInterrupt as interruption:
        for number in usual:  # a second one must not cut the sentence off
            signal.signal(number, signal.SIG_IGN)
        terminated = isinstance(interruption, Terminated)
        sentence = f"{'ended by SIGTERM' if terminated else 'interrupted'}{what_remains()}"
        tell(progress, "interrupted", sentence, sentence=sentence)
        sys.exit(128 + (signal.SIGTERM if terminated else signal.SIGINT))
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def of_new_run(folder: Path) -> Callable[[], str]:
    """What remains of a run that is to begin in this folder."""
    held_another = _has_begun(folder)

    def what_remains() -> str:
        return " before the run began; nothing is kept" if held_another or not _has_begun(folder) else going_on(folder)

    return what_remains


def going_on(folder: Path) -> str:
    """How a run that has begun goes on."""
    return f"; 'mmcl resume {folder}' goes on from the last finished experience"


def _has_begun(folder: Path) -> bool:
    return (folder / "config.toml").is_file()


def _terminate_in(process: int) -> Callable[[int, FrameType | None], None]:
    """A handler that leaves children, who inherit it, as they would be without it."""

    def terminate(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    return terminate
