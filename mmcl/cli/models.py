"""Commands that use the model of a run: predict, export."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmcl.cli.terminal import Folder, app, output


@app.command()
def predict(
    folder: Folder,
    files: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    top: Annotated[int, typer.Option(help="Classes to show.")] = 5,
    experience: Annotated[Optional[str], typer.Option(help="Let only its classes compete.")] = None,  # noqa: UP045
) -> None:
    """Classify images with the model of a run."""
    from mmcl.use import predict as predict_files

    for prediction in predict_files(folder, files, top, experience):
        best = "  ".join(f"{name} {100 * share:.1f} %" for name, share in prediction.classes)
        output.print(f"{prediction.file}: {best}", soft_wrap=True, markup=False)


@app.command()
def export(
    folder: Folder,
    to: Annotated[str, typer.Option(help="The format: open_clip.")],
    out: Annotated[Optional[Path], typer.Option(help="Where to.")] = None,  # noqa: UP045
) -> None:
    """Write the model of a run so that another tool loads it."""
    from mmcl.use import export as export_run

    output.print(f"written: {export_run(folder, to, out)}", soft_wrap=True, markup=False)
