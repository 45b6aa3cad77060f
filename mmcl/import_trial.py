"""Imports tried in a process of their own: one that ends the process or never ends is broken, and disturbs nobody."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from mmcl.errors import PluginError
from mmcl.registry import Entry, load

_SECONDS = 300  # for all imports together; the slowest, which bring in torch and avalanche, take half a minute


def broken_imports(entries: Sequence[Entry], seconds: float = _SECONDS) -> Mapping[Entry, str]:
    """The plugins that cannot be imported, each with the reason."""
    reasons: dict[Entry, str] = {}
    waiting = list(entries)
    while waiting:
        said, end = _tried(waiting, seconds)
        reasons |= {entry: reason for entry, reason in zip(waiting, said, strict=False) if reason}
        waiting = waiting[len(said) :]
        if waiting:  # the first of them has ended the process, or has kept it
            reasons[waiting.pop(0)] = end
    return reasons


def _tried(entries: Sequence[Entry], seconds: float) -> tuple[list[str], str]:
    """A reason or nothing for each import that has come to an end, and how the process has."""
    program = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from mmcl import import_trial as t; t.main()"
    command = [sys.executable, "-I", "-c", program, json.dumps(sys.path)]
    names = "".join(f"{json.dumps([entry.group, entry.qualified])}\n" for entry in entries)
    try:
        done = subprocess.run(command, input=names.encode(), stdout=subprocess.PIPE, timeout=seconds, check=False)
        output, end = done.stdout, f"its import ends the process, with code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"its import has not ended after {seconds:g} seconds"
    return [str(json.loads(line)) for line in output.splitlines()], end


def main() -> None:
    """Import what standard input names, and say a line for each."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what plugins print is none
    for line in sys.stdin.read().splitlines():
        os.write(answers, f"{json.dumps(_reason(*json.loads(line)))}\n".encode())


def _reason(group: str, name: str) -> str:
    try:
        load(group, name)
    except PluginError as error:
        return error.found
    except BaseException as error:  # noqa: BLE001  as KeyboardInterrupt, which nobody has pressed here
        return f"its import raises {type(error).__name__}"
    return ""
