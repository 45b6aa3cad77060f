"""The application that commands are added to, and the terminal they print on."""

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

app = typer.Typer(
    help="Multimodal continual learning: run strategies on streams of tasks and see what is forgotten.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
output = Console(highlight=False)

Folder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import what the folder's or file's configuration names, registered or not.")
]
Data = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--data-root", "--data", help="Folder of the official data."),
]
