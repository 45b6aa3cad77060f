"""The terminal that commands print on, and the options that several have."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mmcl.console import make_console, say_on

output = make_console()

Folder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import what the folder's or file's configuration names, registered or not.")
]
Data = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--data-root", "--data", help="Folder of the official data; own data as a folder or a CSV file."),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class Shown(str, Enum):
    """How a command that takes its time is shown while it is going on."""

    auto = "auto"
    plain = "plain"
    json = "json"
    off = "off"


Progress = Annotated[
    Shown,
    typer.Option(help="Bars on a terminal (auto), lines (plain), an object in every line (json), or nothing (off)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but the result.")]


def say(text: object, style: str = "") -> None:
    """Print what may come from data, as it is."""
    say_on(output, text, style)


def tell(progress: Shown, event: str, sentence: str, /, **facts: Any) -> None:
    """Print what has happened: a sentence for people, an object in a line for programs."""
    say(json.dumps({"event": event, **facts}) if progress is Shown.json else sentence)


def print_json(content: Any) -> None:
    """For machines; what is not ASCII is escaped, which no terminal obeys."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))
