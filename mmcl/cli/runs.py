"""Commands that train: run, resume, extend, demo."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmcl.arguments import apply_overrides, benchmark_config, default_backbone, parse_backbone, parse_plugin
from mmcl.cli.application import app
from mmcl.cli.completion import backbone_name, benchmark_name, strategy_name
from mmcl.cli.interruption import going_on, interruptible, of_new_run
from mmcl.cli.names import require
from mmcl.cli.terminal import Data, Folder, Progress, Quiet, Shown, Trust, output, tell
from mmcl.config import RunConfig
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES
from mmcl.trust import trusted_toml

if TYPE_CHECKING:
    from mmcl.results import RunResult


@app.command()
def run(
    benchmark: Annotated[
        str | None,
        typer.Argument(help="NAME or NAME:key=value,...", show_default=False, autocompletion=benchmark_name),
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="The small edition that comes with MMCL.")] = False,
    data_root: Data = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data where the benchmark can.")] = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="glyph-clip (default if embedded), openclip:ViT-B-16/openai (default else), ...",
            autocompletion=backbone_name,
        ),
    ] = None,
    strategy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="NAME or NAME:key=value,...; several compose in this order.", autocompletion=strategy_name),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="key=value: lr=1e-4, benchmark.order=2, ewc.strength=3, ..."),
    ] = None,
    seed: Annotated[Optional[int], typer.Option(help="Every random choice follows from it.", show_default="0")] = None,  # noqa: UP045
    out: Annotated[Optional[str], typer.Option(help="The run folder, new or empty.")] = None,  # noqa: UP045
    config: Annotated[Optional[Path], typer.Option(help="A TOML configuration; options change it.")] = None,  # noqa: UP045
    log: Annotated[Optional[list[str]], typer.Option(help="wandb and/or tensorboard.")] = None,  # noqa: UP045
    probe: Annotated[Optional[int], typer.Option(help="Test pairs to watch the spaces of a CLIP turn by.")] = None,  # noqa: UP045
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Learn the experiences of a benchmark one after the other and evaluate after each."""
    begun = trusted_toml(config, trust) if config is not None else None
    chosen = benchmark_config(
        benchmark,
        None if begun is None else begun.benchmark,
        embedded=embedded,
        data_root=data_root,
        download=download,
    )
    built = RunConfig(benchmark=chosen) if begun is None else replace(begun, benchmark=chosen)
    if backbone is not None or config is None:
        model = parse_backbone(backbone) if backbone is not None else default_backbone(chosen)
        built = replace(built, backbone=model)
    if strategy:
        built = replace(built, strategies=tuple(map(parse_plugin, strategy)))
    if seed is not None:
        built = replace(built, seed=seed)
    if log:
        built = replace(built, log=tuple(log))
    built = replace(built, out=out) if out is not None else built
    built = replace(built, probe=probe) if probe is not None else built
    built = apply_overrides(built, set_ or [])
    for group, plugin in ((BENCHMARKS, built.benchmark), (BACKBONES, built.backbone)):
        require(group, plugin.name)
    for plugin in built.strategies:
        require(STRATEGIES, plugin.name)

    with interruptible(of_new_run(built.folder), progress):
        from mmcl.running import run_config

        result = run_config(built, quiet=quiet, progress=progress.value)
    _print_result(result, progress)


@app.command()
def resume(
    folder: Folder,
    data_root: Annotated[Optional[Path], typer.Option(help="Where the benchmark's data are now.")] = None,  # noqa: UP045
    data: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Where the data are now that have extended the run; once for each, in their order."),
    ] = None,
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Continue an interrupted run; the numbers are those of a run that was never interrupted."""
    with interruptible(lambda: going_on(folder), progress):
        from mmcl.running import resume as resume_run

        result = resume_run(
            folder, data_root=data_root, data=data or (), quiet=quiet, trust=trust, progress=progress.value
        )
    _print_result(result, progress)


@app.command()
def extend(
    folder: Folder,
    data: Annotated[
        Path | None,
        typer.Option(help="What to learn next: DATA/CLASS/IMAGE, a CSV file, a saved data set, or several."),
    ] = None,
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Learn on after a run has ended: the next experience of its benchmark, or data of your own."""
    with interruptible(lambda: going_on(folder), progress):
        from mmcl.running import extend as extend_run

        result = extend_run(folder, data, quiet=quiet, trust=trust, progress=progress.value)
    _print_result(result, progress)


@app.command()
def demo(
    out: Annotated[Optional[Path], typer.Option(help="Where to put the runs.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Every random choice follows from it.")] = 0,
    progress: Progress = Shown.auto,
    quiet: Quiet = False,
) -> None:
    """Watch a small CLIP learn eleven data sets, and forget less with ZSCL than without."""
    with interruptible(lambda: "; 'mmcl demo' begins anew", progress):
        from mmcl.demo import demo as run_demo

        run_demo(out, seed, progress="off" if quiet else progress.value)


def _print_result(result: "RunResult", progress: Shown) -> None:
    if progress is not Shown.json:
        output.print(result.table())
    tell(progress, "end", f"kept in {result.folder}", folder=str(result.folder), summary=result.summary)
