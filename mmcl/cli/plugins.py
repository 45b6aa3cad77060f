"""Commands about plugins: list, show, check, new, explain."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table
from rich.text import Text

from mmcl.arguments import parse_backbone, parse_plugin, registered_groups
from mmcl.cli.application import app
from mmcl.cli.completion import any_name, backbone_name, benchmark_name, strategy_name
from mmcl.cli.names import require, unknown
from mmcl.cli.terminal import Json, output, print_json, say
from mmcl.escaping import plain, plain_lines
from mmcl.import_trial import broken_imports
from mmcl.registry import BACKBONES, BENCHMARKS, GROUPS, STRATEGIES, Card, Entry, card, entries


class Kind(str, Enum):
    """What can be listed."""

    strategies = "strategies"
    benchmarks = "benchmarks"
    backbones = "backbones"

    @property
    def group(self) -> str:
        """The entry-point group of this kind."""
        return {"strategies": STRATEGIES, "benchmarks": BENCHMARKS, "backbones": BACKBONES}[self.value]


class PluginKind(str, Enum):
    """What can be begun."""

    strategy = "strategy"
    benchmark = "benchmark"
    backbone = "backbone"


@app.command("list")
def list_plugins(
    kind: Annotated[Optional[Kind], typer.Argument(help="Only these.", show_default=False)] = None,  # noqa: UP045
    as_json: Json = False,
    imported: Annotated[bool, typer.Option("--import", help="Import each, to find what its source hides.")] = False,
) -> None:
    """List the strategies, benchmarks and backbones of all installed distributions; broken ones with the reason."""
    groups = GROUPS if kind is None else (kind.group,)
    found = [(entry, card(entry)) for group in groups for entry in entries(group)]
    if imported:
        broken = broken_imports([entry for entry, read in found if read.broken is None])
        found = [(entry, Card(broken=broken[entry]) if entry in broken else read) for entry, read in found]
    if as_json:
        print_json([{**_facts(entry), "title": read.title, "broken": read.broken} for entry, read in found])
        return
    for group in groups:
        table = _table(group.removeprefix("mmcl."), "name", "distribution", "what it is")
        for entry, read in found:
            if entry.group == group:
                what = _broken(read.broken) if read.broken else _text(read.title)
                table.add_row(_text(_usable_name(entry)), _text(entry.distribution), what)
        output.print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A strategy, benchmark or backbone.", autocompletion=any_name)],
    as_json: Json = False,
) -> None:
    """Show the card of a plugin: paper, equation, deviations, and its options with their defaults."""
    matches = [entry for group in GROUPS for entry in entries(group) if name in (entry.name, entry.qualified)]
    if not matches:
        raise unknown(name)
    found = [(entry, card(entry)) for entry in matches]
    if as_json:
        print_json(
            [{**_facts(entry), "class": f"{entry.module}:{entry.attribute}", **asdict(read)} for entry, read in found]
        )
        return
    for entry, read in found:
        say(f"{_usable_name(entry)}  {entry.module}:{entry.attribute}  ({entry.distribution})", style="bold")
        output.print(_broken(read.broken) if read.broken else Text(plain_lines(read.text)))
        if read.options:
            table = _table("options", "name", "type", "default", "")
            for option in read.options:
                table.add_row(*map(_text, (option.name, option.kind, option.default, option.comment)))
            output.print(table)


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME, NAME:key=value,... or package.module:Class.", show_default=False, autocompletion=any_name
        ),
    ],
    kind: Annotated[Optional[PluginKind], typer.Option(help="For a name that several kinds have.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Examine what a strategy, benchmark or backbone promises; exit code 1 if a promise is broken."""
    if ":" not in name and not registered_groups(name):
        raise unknown(name)

    from mmcl.testing.check import outcomes
    from mmcl.testing.kit import CHECKS, examined

    plugin = examined(name, None if kind is None else kind.value)
    counts, found = dict.fromkeys(("ok", "skipped", "broken"), 0), []
    for outcome in outcomes(CHECKS[plugin.group], plugin):
        word = "skipped" if outcome.skipped else "ok" if outcome.error is None else "broken"
        counts[word] += 1
        sentence = outcome.skipped or outcome.error or outcome.check.promise
        found.append({"check": outcome.check.name, "outcome": word, "sentence": sentence})
        if not as_json:
            say(f"{word:<8} {outcome.check.name}: {sentence}")
    if as_json:
        print_json({"name": name, "counts": counts, "checks": found})
    else:
        say(f"{name}: {', '.join(f'{count} {word}' for word, count in counts.items())}")
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
    say(f"written: {target}")
    for step in (f"pip install --editable {target}", f"mmcl check {name}", trial):
        say(f"    {step}")


@app.command()
def explain(
    strategies: Annotated[
        list[str], typer.Argument(help="NAME or NAME:key=value,...; in this order.", autocompletion=strategy_name)
    ],
    benchmark: Annotated[Optional[str], typer.Option(help="A benchmark.", autocompletion=benchmark_name)] = None,  # noqa: UP045
    scenario: Annotated[Optional[str], typer.Option(help="CIL, DIL, TIL, GDIL or MDTIL.")] = None,  # noqa: UP045
    backbone: Annotated[Optional[str], typer.Option(help="A backbone.", autocompletion=backbone_name)] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Say what strategies will do together, in which order, or why they are refused. Loads no weights and no data."""
    for group, names in (
        (STRATEGIES, [parse_plugin(strategy).name for strategy in strategies]),
        (BENCHMARKS, [benchmark] if benchmark is not None else []),
        (BACKBONES, [parse_backbone(backbone).name] if backbone is not None else []),
    ):
        for name in names:
            require(group, name)

    from mmcl.explanation import explain as explain_composition

    explanation = explain_composition(strategies, benchmark=benchmark, scenario=scenario, backbone=backbone)
    if as_json:
        print_json(explanation.to_dict())
    if explanation.refusal is not None:
        raise explanation.refusal
    if not as_json:
        output.print(explanation.table())


def _facts(entry: Entry) -> dict[str, str]:
    """What says which plugin it is, in JSON."""
    kind = entry.group.removeprefix("mmcl.")
    return {"kind": kind, "name": _usable_name(entry), "distribution": entry.distribution}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(content: str) -> Text:
    return Text(plain(content))


def _broken(reason: str) -> Text:
    return Text.assemble(("broken", "red"), f": {plain(reason)}")


def _usable_name(entry: Entry) -> str:
    return entry.qualified if entry.shared else entry.name
