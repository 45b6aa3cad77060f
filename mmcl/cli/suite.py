"""The command that runs many: suite."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmcl.cli.application import app
from mmcl.cli.interruption import interruptible
from mmcl.cli.terminal import Progress, Quiet, Shown, Trust, output, say, tell

if TYPE_CHECKING:
    from mmcl.suites.suite import SuiteResult


@app.command()
def suite(
    file: Annotated[Path, typer.Argument(help="What to run, as TOML.", show_default=False)],
    cores: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Cores of the processor that cells may use together.", show_default="all"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that every cell computes with.")] = 1,
    out: Annotated[Optional[Path], typer.Option(help="A folder instead of the one that the file names.")] = None,  # noqa: UP045
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Run benchmarks x strategies x seeds in processes, or go on where that stopped; exit code 1 if a cell failed."""
    again = f"mmcl suite {file}" + (f" --out {out}" if out is not None else "")
    with interruptible(lambda: f"; '{again}' goes on from the last finished experiences", progress):
        from mmcl.suites.suite import run_suite  # seconds, in which Ctrl-C is as likely as later

        result = run_suite(
            file, cores=cores, threads=threads, out=out, quiet=quiet, trust=trust, progress=progress.value
        )
    if progress is Shown.json:
        summaries = {name: cell.summary for name, cell in result.cells.items()}
        tell(progress, "end", "", cells=summaries, failed=result.failed)
    else:
        _print_result(result)
    if result.failed:
        raise typer.Exit(1)


def _print_result(result: "SuiteResult") -> None:
    if result.cells:
        output.print(result.compare().table())
    for name, reason in result.failed.items():
        say(f"{name} failed: {reason}")
    if result.failed:
        say(f"{len(result.failed)} failed; the same command runs them again")
