"""Consoles: where a person reads, on a terminal as wide as it is and elsewhere as wide as what is written."""

import os
from typing import Any

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.text import Text

from mmcl.escaping import plain_lines

_WITHOUT_END = 10_000  # columns
_CTRL_C = 3  # columns


def make_console(**options: Any) -> Console:
    """A console on standard output, or as ``options`` of rich say.

    A pipe has no width: nothing is wrapped there, unless ``COLUMNS`` says how wide its reader is.
    """
    console = Console(highlight=False, **options)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WITHOUT_END
    return console


def redrawn(renderable: RenderableType, console: Console) -> RenderableType:
    """Something to be drawn over again and again, such that it can be wiped out after Ctrl-C, too.

    Terminals print ``^C`` at the cursor; where that begins another line, all that is counted from there is off by one.
    """
    return Constrain(renderable, console.width - _CTRL_C)


def say_on(console: Console, text: object, style: str = "") -> None:
    """Print what may come from data: without markup, control characters, and ends of lines of our own."""
    console.print(Text(plain_lines(text), style), soft_wrap=True)
