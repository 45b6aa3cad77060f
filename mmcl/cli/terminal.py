"""The application that commands are added to, and the terminal they print on."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mmcl import __version__
from mmcl.console import make_console, say_on

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
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


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmcl {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Multimodal continual learning: run strategies on streams of tasks and see what is forgotten."""
