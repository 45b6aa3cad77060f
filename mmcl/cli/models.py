"""Commands that use the model of a run: predict, export."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmcl.cli.application import app
from mmcl.cli.terminal import Folder, Json, Trust, say


@app.command()
def predict(
    folder: Folder,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Pictures, arrays (.npy), folders of them, CSV files, saved data sets.", show_default=False
        ),
    ],
    top: Annotated[int, typer.Option(help="Classes to show.")] = 5,
    experience: Annotated[Optional[str], typer.Option(help="Let only its classes compete.")] = None,  # noqa: UP045
    texts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Let the lines of this file compete, for models of pairs."),
    ] = None,
    batch_size: Annotated[Optional[int], typer.Option(help="How many at once.", show_default="the run's")] = None,  # noqa: UP045
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a row for each class.")] = False,
    trust: Trust = False,
) -> None:
    """Classify pictures or whatever else a run has learned from with its model."""
    from mmcl import predictions
    from mmcl.data.questions import lines_of
    from mmcl.use import predict as ask

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv are two forms of the same; choose one")
    lines = None if texts is None else lines_of(texts)
    answers = ask(folder, files, top, experience, texts=lines, batch_size=batch_size, trust=trust)
    if as_json or as_csv:
        typer.echo((predictions.as_json if as_json else predictions.as_csv)(answers))
        return
    for answer in answers:
        say(str(answer))


@app.command()
def export(
    folder: Folder,
    to: Annotated[Optional[str], typer.Option(help="The format; that of the backbone, such as open_clip.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Where to.")] = None,  # noqa: UP045
    trust: Trust = False,
) -> None:
    """Write the model of a run so that another tool loads it."""
    from mmcl.use import export as export_run

    say(f"written: {export_run(folder, to, out, trust)}")
