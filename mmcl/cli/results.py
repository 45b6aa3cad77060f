"""Commands that read results: report, compare."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmcl.cli.application import app
from mmcl.cli.terminal import Folder, Json, output, print_json


@app.command()
def report(folder: Folder, as_json: Json = False) -> None:
    """Print the result matrix and the scores of a run."""
    from mmcl.evaluation.report import results_table
    from mmcl.run_folder import RunFolder

    results = RunFolder.open(folder).results
    if as_json:
        print_json(results)
    else:
        output.print(results_table(results))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.", show_default=False)],
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Strategies to test against, as the table names them.", show_default="the first row"),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX with booktabs.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a line for every row and score, with all digits.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put runs side by side: mean, interval over seeds, and tests by seed against one of the rows."""
    from mmcl.evaluation.comparison import compare_results
    from mmcl.stored import stored_results

    chosen = [
        name
        for name, wanted in (("markdown", markdown), ("latex", latex), ("csv", as_csv), ("json", as_json))
        if wanted
    ]
    if len(chosen) > 1:
        raise typer.BadParameter(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    comparison = compare_results(stored_results(folders), against)
    writers = {
        "markdown": comparison.markdown,
        "latex": comparison.latex,
        "csv": comparison.csv,
        "json": comparison.json,
    }
    if chosen:
        typer.echo(writers[chosen[0]]().rstrip("\n"))
    else:
        output.print(comparison.table())
