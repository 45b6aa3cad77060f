"""The command line. Importing this file loads neither torch nor avalanche: heavy work is imported where it is done."""

import json
import sys
import warnings
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmcl.arguments import apply_overrides, default_backbone, parse_backbone, parse_strategy, registered_groups
from mmcl.config import PluginConfig, RunConfig, read_toml
from mmcl.errors import MMCLError, PluginError, nearest
from mmcl.registry import BACKBONES, BENCHMARKS, GROUPS, STRATEGIES, Entry, card, entries, find, imported_card
from mmcl.remarks import Remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmcl.results import RunResult

app = typer.Typer(
    help="Multimodal continual learning: run strategies on streams of tasks and see what is forgotten.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
output = Console(highlight=False)


class Kind(str, Enum):
    """What can be listed."""

    strategies = "strategies"
    benchmarks = "benchmarks"
    backbones = "backbones"

    @property
    def group(self) -> str:
        """The entry-point group."""
        return {"strategies": STRATEGIES, "benchmarks": BENCHMARKS, "backbones": BACKBONES}[self.value]


class PluginKind(str, Enum):
    """What can be begun."""

    strategy = "strategy"
    benchmark = "benchmark"
    backbone = "backbone"


Folder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


@app.command("list")
def list_plugins(
    kind: Annotated[Optional[Kind], typer.Argument(help="Only these.", show_default=False)] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    imported: Annotated[bool, typer.Option("--import", help="Import each, to find what its source hides.")] = False,
) -> None:
    """List the strategies, benchmarks and backbones of all installed distributions; broken ones with the reason."""
    groups = GROUPS if kind is None else (kind.group,)
    read_card = imported_card if imported else card
    found = [(entry, read_card(entry)) for group in groups for entry in entries(group)]
    if as_json:
        rows = [
            {
                "kind": entry.group.removeprefix("mmcl."),
                "name": _usable_name(entry),
                "distribution": entry.distribution,
                "title": read.title,
                "broken": read.broken,
            }
            for entry, read in found
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    for group in groups:
        table = Table(title=group.removeprefix("mmcl."), title_justify="left")
        for column in ("name", "distribution", "what it is"):
            table.add_column(column)
        for entry, read in found:
            if entry.group == group:
                what = f"[red]broken[/red]: {escape(read.broken)}" if read.broken else escape(read.title)
                table.add_row(_usable_name(entry), entry.distribution, what)
        output.print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A strategy, benchmark or backbone.")]) -> None:
    """Show the card of a plugin: paper, equation, deviations, and its options with their defaults."""
    matches = [entry for group in GROUPS for entry in entries(group) if name in (entry.name, entry.qualified)]
    if not matches:
        raise _unknown(name)
    for entry in matches:
        read = card(entry)
        output.print(f"[bold]{_usable_name(entry)}[/bold]  {entry.module}:{entry.attribute}  ({entry.distribution})")
        output.print(f"[red]broken[/red]: {escape(read.broken)}" if read.broken else escape(read.text))
        if read.options:
            table = Table(title="options", title_justify="left")
            for column in ("name", "type", "default", ""):
                table.add_column(column)
            for option in read.options:
                table.add_row(*map(escape, (option.name, option.kind, option.default, option.comment)))
            output.print(table)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="NAME, NAME:key=value,... or package.module:Class.", show_default=False)],
    kind: Annotated[Optional[PluginKind], typer.Option(help="For a name that several kinds have.")] = None,  # noqa: UP045
) -> None:
    """Examine what a strategy, benchmark or backbone promises; exit code 1 if a promise is broken."""
    if ":" not in name and not registered_groups(name):
        raise _unknown(name)

    from mmcl.testing.check import outcomes
    from mmcl.testing.kit import CHECKS, examined

    plugin = examined(name, None if kind is None else kind.value)
    counts = dict.fromkeys(("ok", "skipped", "broken"), 0)
    for outcome in outcomes(CHECKS[plugin.group], plugin):
        word = "skipped" if outcome.skipped else "ok" if outcome.error is None else "broken"
        counts[word] += 1
        sentence = outcome.skipped or outcome.error or outcome.check.promise
        output.print(f"{word:<8} {outcome.check.name}: {sentence}", soft_wrap=True, markup=False)
    output.print(f"{name}: {', '.join(f'{count} {word}' for word, count in counts.items())}", markup=False)
    if counts["broken"]:
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[PluginKind, typer.Argument(help="What it is to be.", show_default=False)],
    name: Annotated[str, typer.Argument(help="What users will type, as in my-idea.", show_default=False)],
    folder: Annotated[Path, typer.Option("--dir", help="Where the new folder goes.")] = Path(),
) -> None:
    """Write a complete package to start a strategy, benchmark or backbone from."""
    from mmcl.scaffold.package import new_package

    target = new_package(kind.value, name, folder)
    trial = {
        "strategy": f"mmcl run mtil --embedded --strategy {name}",
        "benchmark": f"mmcl run {name} --embedded",
        "backbone": f"mmcl run mtil --embedded --backbone {name}",
    }[kind.value]
    steps = (f"pip install --editable {target}", f"mmcl check {name}", trial)
    output.print(f"written: {target}", *steps, sep="\n    ", soft_wrap=True, markup=False)


@app.command()
def explain(
    strategies: Annotated[list[str], typer.Argument(help="NAME or NAME:key=value,...; in this order.")],
    benchmark: Annotated[Optional[str], typer.Option(help="A benchmark.")] = None,  # noqa: UP045
    scenario: Annotated[Optional[str], typer.Option(help="CIL, DIL, TIL, GDIL or MDTIL.")] = None,  # noqa: UP045
    backbone: Annotated[Optional[str], typer.Option(help="A backbone.")] = None,  # noqa: UP045
) -> None:
    """Say what strategies will do together, in which order, or why they are refused. Loads no weights and no data."""
    for group, names in (
        (STRATEGIES, [parse_strategy(strategy).name for strategy in strategies]),
        (BENCHMARKS, [benchmark] if benchmark is not None else []),
        (BACKBONES, [parse_backbone(backbone).name] if backbone is not None else []),
    ):
        for name in names:
            _require(group, name)

    from mmcl.explanation import explain as explain_composition

    explanation = explain_composition(strategies, benchmark=benchmark, scenario=scenario, backbone=backbone)
    if explanation.refusal is not None:
        raise explanation.refusal
    output.print(explanation.table())


@app.command()
def run(
    benchmark: Annotated[Optional[str], typer.Argument(help="A benchmark.", show_default=False)] = None,  # noqa: UP045
    embedded: Annotated[bool, typer.Option("--embedded", help="The small edition that comes with MMCL.")] = False,
    data_root: Annotated[Optional[str], typer.Option(help="Folder of the official data.")] = None,  # noqa: UP045
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data where the benchmark can.")] = False,
    backbone: Annotated[
        str | None,
        typer.Option(help="glyph-clip (default if embedded), openclip:ViT-B-16/openai (default else), ..."),
    ] = None,
    strategy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="NAME or NAME:key=value,...; several compose in this order."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="key=value: lr=1e-4, benchmark.order=2, ewc.strength=3, ..."),
    ] = None,
    seed: Annotated[Optional[int], typer.Option(help="Every random choice follows from it. [default: 0]")] = None,  # noqa: UP045
    out: Annotated[Optional[str], typer.Option(help="The run folder, new or empty.")] = None,  # noqa: UP045
    config: Annotated[Optional[Path], typer.Option(help="A TOML configuration; options change it.")] = None,  # noqa: UP045
    log: Annotated[Optional[list[str]], typer.Option(help="wandb and/or tensorboard.")] = None,  # noqa: UP045
    probe: Annotated[Optional[int], typer.Option(help="Test pairs to watch the spaces of a CLIP turn by.")] = None,  # noqa: UP045
) -> None:
    """Learn the experiences of a benchmark one after the other and evaluate after each."""
    built = read_toml(config) if config is not None else None
    if benchmark is not None:
        built = (
            replace(built, benchmark=PluginConfig(benchmark))
            if built is not None
            else RunConfig(benchmark=PluginConfig(benchmark))
        )
    if built is None:
        raise typer.BadParameter("name a benchmark or give --config FILE")
    options = dict(built.benchmark.options)
    options |= {"embedded": True} if embedded else {}
    options |= {"data_root": data_root} if data_root is not None else {}
    options |= {"download": True} if download else {}
    built = replace(built, benchmark=PluginConfig(built.benchmark.name, options))
    if backbone is not None or config is None:
        chosen = parse_backbone(backbone) if backbone is not None else default_backbone(built.benchmark)
        built = replace(built, backbone=chosen)
    if strategy:
        built = replace(built, strategies=tuple(map(parse_strategy, strategy)))
    if seed is not None:
        built = replace(built, seed=seed)
    if log:
        built = replace(built, log=tuple(log))
    built = replace(built, out=out) if out is not None else built
    built = replace(built, probe=probe) if probe is not None else built
    built = apply_overrides(built, set_ or [])
    for group, plugin in ((BENCHMARKS, built.benchmark), (BACKBONES, built.backbone)):
        _require(group, plugin.name)
    for plugin in built.strategies:
        _require(STRATEGIES, plugin.name)

    from mmcl.run import default_folder, run_config

    folder = built.out or default_folder(built)
    result = _interruptible(lambda: run_config(built), folder)
    _print_result(result)


@app.command()
def resume(
    folder: Folder,
    data_root: Annotated[Optional[Path], typer.Option(help="Where the benchmark's data are now.")] = None,  # noqa: UP045
    data: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Where a folder is now that has extended the run; once for each, in their order."),
    ] = None,
) -> None:
    """Continue an interrupted run; the numbers are those of a run that was never interrupted."""
    from mmcl.run import resume as resume_run

    _print_result(_interruptible(lambda: resume_run(folder, data_root=data_root, data=data or ()), str(folder)))


@app.command()
def extend(
    folder: Folder,
    data: Annotated[Optional[Path], typer.Option(help="Images as DATA/CLASS/IMAGE, to learn next.")] = None,  # noqa: UP045
) -> None:
    """Learn one more experience after a run has ended: the next of its benchmark, or a folder of images."""
    from mmcl.run import extend as extend_run

    _print_result(_interruptible(lambda: extend_run(folder, data), str(folder)))


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


@app.command()
def demo(
    out: Annotated[Optional[Path], typer.Option(help="Where to put the runs.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Every random choice follows from it.")] = 0,
) -> None:
    """Watch a small CLIP learn eleven data sets, and forget less with ZSCL than without."""
    from mmcl.demo import demo as run_demo

    run_demo(out, seed)


def main() -> None:
    """Entry point: user errors are one sentence on standard error and exit code 2."""
    if "" not in sys.path:
        sys.path.append("")  # package.module:Class may lie in the working directory
    # avalanche imports qpsolvers, which misses solvers nobody here uses
    warnings.filterwarnings("ignore", message="no QP solver found")
    warnings.formatwarning = _warning_line(warnings.formatwarning)
    try:
        app()
    except MMCLError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        sys.exit(2)


def _warning_line(usual: "Callable[..., str]") -> "Callable[..., str]":
    """Remarks are sentences for the user, who need not know which line of which file said them."""

    def line(message: Warning | str, category: type[Warning], *place: Any) -> str:
        return f"note: {message}\n" if issubclass(category, Remark) else usual(message, category, *place)

    return line


def _interruptible(action: "Callable[[], RunResult]", folder: str) -> "RunResult":
    try:
        return action()
    except KeyboardInterrupt:
        output.print(f"interrupted; 'mmcl resume {folder}' goes on from the last finished experience", markup=False)
        sys.exit(130)


def _print_result(result: "RunResult") -> None:
    output.print(result.table())
    output.print(f"kept in {result.folder}", soft_wrap=True, markup=False)


def _unknown(name: str) -> PluginError:
    known = [entry.name for group in GROUPS for entry in entries(group)]
    return PluginError(
        f"plugin {name!r}",
        found="no installed distribution has a plugin of this name",
        allowed=", ".join(known),
        remedy=nearest(name, known),
    )


def _require(group: str, name: str) -> None:
    """Refuse an unknown name before anything heavy is imported."""
    if ":" not in name:
        find(group, name)


def _usable_name(entry: Entry) -> str:
    return entry.qualified if entry.shared else entry.name
