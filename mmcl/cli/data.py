"""Commands about data: check-data."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmcl.arguments import benchmark_config
from mmcl.cli.application import app
from mmcl.cli.completion import benchmark_name
from mmcl.cli.interruption import interruptible
from mmcl.cli.names import require
from mmcl.cli.terminal import Data, Progress, Quiet, Shown, Trust, tell
from mmcl.config import PluginConfig
from mmcl.registry import BENCHMARKS
from mmcl.trust import trusted_toml


@app.command("check-data")
def check_data(
    benchmark: Annotated[
        str | None,
        typer.Argument(help="NAME or NAME:key=value,...", show_default=False, autocompletion=benchmark_name),
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="The small edition that comes with MMCL.")] = False,
    data_root: Data = None,
    set_: Annotated[Optional[list[str]], typer.Option("--set", help="benchmark.key=value.")] = None,  # noqa: UP045
    config: Annotated[Optional[Path], typer.Option(help="A TOML configuration; options change it.")] = None,  # noqa: UP045
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Read all data of a benchmark and name everything that is wrong with them; exit code 1 if anything is."""
    with interruptible(lambda: " before everything was read; the same command begins anew", progress):
        begun = None if config is None else trusted_toml(config, trust).benchmark
        chosen = benchmark_config(benchmark, begun, embedded=embedded, data_root=data_root, overrides=set_ or ())
        require(BENCHMARKS, chosen.name)
        bad = _inspected(chosen, progress, quiet)
    if bad:
        raise typer.Exit(1)


def _inspected(benchmark: PluginConfig, progress: Shown, quiet: bool) -> int:
    """How many samples of a benchmark cannot be learned from, each of which is named."""
    from mmcl.data.faults import Fault
    from mmcl.inspection import inspect, parts_of
    from mmcl.views import make_view

    def name(fault: Fault) -> None:
        tell(progress, "fault", f"{fault.what}: {fault.reason}", what=fault.what, reason=fault.reason)

    parts = parts_of(benchmark)
    if isinstance(parts, Fault):
        name(parts)
        return 1
    bad, samples = 0, sum(len(part.samples) for part in parts)
    view = make_view(progress.value, quiet)
    with view.shown(), view.phase("reading", samples) as advance:
        for part in parts:
            for faults in inspect(part):
                for fault in faults:
                    name(fault)
                bad += bool(faults)
                advance(part.name)
    verdict = "all of them can be learned from" if not bad else f"{bad} of them cannot be learned from"
    sentence = f"{benchmark.name}: {samples} samples read, {verdict}"
    tell(progress, "end", sentence, benchmark=benchmark.name, samples=samples, bad=bad)
    return bad
