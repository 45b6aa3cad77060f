"""The command that runs many: suite."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmcl.cli.interruption import interruptible
from mmcl.cli.terminal import Quiet, Trust, app, output, say


@app.command()
def suite(
    file: Annotated[Path, typer.Argument(help="What to run, as TOML.", show_default=False)],
    cores: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Cores of the processor that cells may use together. [default: all]"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that every cell computes with.")] = 1,
    out: Annotated[Optional[Path], typer.Option(help="A folder instead of the one that the file names.")] = None,  # noqa: UP045
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Run benchmarks x strategies x seeds in processes, or go on where that stopped; exit code 1 if a cell failed."""
    with interruptible(lambda: f"; 'mmcl suite {file}' goes on from the last finished experiences"):
        from mmcl.suites.suite import run_suite  # seconds, in which Ctrl-C is as likely as later

        result = run_suite(file, cores=cores, threads=threads, out=out, quiet=quiet, trust=trust)
    if result.cells:
        output.print(result.compare().table())
    for name, reason in result.failed.items():
        say(f"{name} failed: {reason}")
    if result.failed:
        say(f"{len(result.failed)} failed; the same command runs them again")
        raise typer.Exit(1)
