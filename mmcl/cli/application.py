"""The application that commands are added to."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmcl import __version__
from mmcl.cli.interruption import interruptible


class Commands(TyperGroup):
    """Every command ends with a sentence when it is interrupted, also before it says what remains of its work."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read what was typed, for which typer imports pydantic."""
        with interruptible(_begins_anew):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named."""
        with interruptible(_begins_anew):
            return super().invoke(ctx)


def _begins_anew() -> str:
    return "; the same command begins anew"


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


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
