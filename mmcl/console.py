"""Consoles: where a person reads, on a terminal as wide as it is and elsewhere as wide as what is written."""

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from mmcl.escaping import plain_lines

_WITHOUT_END = 10_000  # columns


def make_console(**options: Any) -> Console:
    """A console on standard output, or as ``options`` of rich say.

    A pipe has no width: nothing is wrapped there, unless ``COLUMNS`` says how wide its reader is.
    """
    console = Console(highlight=False, **options)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WITHOUT_END
    return console


def say_on(console: Console, text: object, style: str = "") -> None:
    """Print what may come from data: without markup, control characters, and ends of lines of our own."""
    console.print(Text(plain_lines(text), style), soft_wrap=True)
