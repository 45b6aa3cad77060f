"""Commands about data: check-data."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmcl.arguments import benchmark_config
from mmcl.cli.completion import benchmark_name
from mmcl.cli.names import require
from mmcl.cli.terminal import Data, Trust, app, output, say
from mmcl.registry import BENCHMARKS
from mmcl.trust import trusted_toml

if TYPE_CHECKING:
    from mmcl.inspection import Part

_HEARTBEAT = 10.0  # seconds between two lines where there is no terminal


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
    trust: Trust = False,
) -> None:
    """Read all data of a benchmark and name everything that is wrong with them; exit code 1 if anything is."""
    begun = None if config is None else trusted_toml(config, trust).benchmark
    chosen = benchmark_config(benchmark, begun, embedded=embedded, data_root=data_root, overrides=set_ or ())
    require(BENCHMARKS, chosen.name)

    from mmcl.data.faults import Fault
    from mmcl.inspection import inspect, parts_of

    parts = parts_of(chosen)
    if isinstance(parts, Fault):
        say(f"{parts.what}: {parts.reason}")
        raise typer.Exit(1)
    bad, samples = 0, sum(len(part.samples) for part in parts)
    with _progress(parts) as advance:
        for part in parts:
            for faults in inspect(part):
                for fault in faults:
                    say(f"{fault.what}: {fault.reason}")
                bad += bool(faults)
                advance(part.name)
    verdict = "all of them can be learned from" if not bad else f"{bad} of them cannot be learned from"
    say(f"{chosen.name}: {samples} samples read, {verdict}")
    if bad:
        raise typer.Exit(1)


@contextmanager
def _progress(parts: "Sequence[Part]") -> "Iterator[Callable[[str], object]]":
    """A bar on a terminal, and a line now and then elsewhere."""
    total, done, last = sum(len(part.samples) for part in parts), 0, time.monotonic()
    if output.is_terminal:
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        with Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=output,
            transient=True,
        ) as bar:
            task = bar.add_task("reading", total=total)
            yield lambda part: bar.update(task, advance=1, description=f"reading {part}")
        return

    def beat(part: str) -> None:
        nonlocal done, last
        done += 1
        if time.monotonic() - last > _HEARTBEAT:
            last = time.monotonic()
            say(f"{done} of {total} samples read ({part})")

    yield beat
