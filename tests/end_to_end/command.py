"""The command: called where it stands, or in a process of its own, for tests that kill it or limit what it may do.

That process is forked from the tests: it has imported what they have and starts at once.
"""

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmcl.cli import main

_STREAMS = {1: "stdout", 2: "stderr"}
_LIMIT = 300.0  # seconds


@dataclass(frozen=True)
class Done:
    """How the command has ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str) -> Done:
    """The command in this process."""
    printed, errors, code = StringIO(), StringIO(), 0
    with patch.object(sys, "argv", ["mmcl", *arguments]), redirect_stdout(printed), redirect_stderr(errors):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, printed.getvalue(), errors.getvalue())


def start(
    arguments: tuple[str, ...], notes: Path, environment: Mapping[str, str], first: Callable[[], Any] = int
) -> BaseProcess:
    """A process that does ``first`` and then what the command does; what it writes goes to files in ``notes``."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_become, args=(arguments, notes, environment, first))
    process.start()
    return process


def finish(process: BaseProcess, notes: Path) -> Done:
    """Wait for it."""
    process.join(_LIMIT)
    assert process.exitcode is not None, "it has not come to an end"
    return Done(process.exitcode, *((notes / name).read_text("utf-8") for name in _STREAMS.values()))


def _become(arguments: tuple[str, ...], notes: Path, environment: Mapping[str, str], first: Callable[[], Any]) -> None:
    for number, name in _STREAMS.items():
        os.dup2(os.open(notes / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    os.environ.update(environment)
    warnings.simplefilter("ignore")
    sys.argv = ["mmcl", *arguments]
    first()
    main()
