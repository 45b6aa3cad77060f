"""Commands that read results: report, compare."""

from pathlib import Path
from typing import Annotated

import typer

from mmcl.cli.terminal import Folder, app, output


@app.command()
def report(folder: Folder) -> None:
    """Print the result matrix and the scores of a run."""
    from mmcl.evaluation.report import results_table
    from mmcl.run_folder import RunFolder

    output.print(results_table(RunFolder.open(folder).results))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Put runs side by side, with mean and standard deviation over seeds."""
    from mmcl.evaluation.report import comparison_markdown, comparison_table
    from mmcl.run_folder import RunFolder

    results = [RunFolder.open(folder).results for folder in folders]
    if markdown:
        typer.echo(comparison_markdown(results))
    else:
        output.print(comparison_table(results))
