"""Audit: what a piece of code writes and whom it calls, as Python's audit events tell it.

Libraries that write files in C++ or Rust without telling Python are not seen; the working directory is watched too.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.link": 1, "os.symlink": 1}
_CALLS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})
_listening: list["Audit"] = []  # an audit hook stays for ever: there is one, and it asks who listens


class Audit:
    """What has been seen.

    Attributes:
        written: files and folders that were opened for writing, made, renamed or removed.
        called: network addresses.
    """

    def __init__(self) -> None:
        self.written: list[str] = []
        self.called: list[str] = []

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event."""
        if event in _CALLS:
            self.called.append(" ".join(str(a) for a in arguments if isinstance(a, (str, int, tuple))))
        elif event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes, os.PathLike)) and isinstance(flags, int) and flags & _WRITING:
                self._note(path)
        elif event in _CHANGES:
            self._note(arguments[_CHANGES[event]])

    def _note(self, path: Any) -> None:
        path = os.fspath(path) if isinstance(path, os.PathLike) else path
        text = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes)) else ""
        # Python keeps compiled modules, whoever imports them
        if text and "__pycache__" not in text and text != os.devnull:
            self.written.append(text)


def remove(folder: Path) -> None:
    """Remove a folder of the kit's own, unheard: it may go when an object is collected, whoever is listened to then."""
    listening = _listening[:]
    _listening.clear()
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        _listening[:] = listening


@contextmanager
def audited() -> Iterator[Audit]:
    """Listen while the body runs in an empty working directory; what it leaves there counts as written."""
    _install()
    audit, before = Audit(), os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _listening.append(audit)
        try:
            yield audit
        finally:
            _listening.remove(audit)
            os.chdir(before)
            audit.written += [path.name for path in Path(folder).rglob("*")]


@cache
def _install() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    for audit in _listening:
        audit.hear(event, arguments)
