"""Plan: the cells of a suite, as its TOML file describes them. Nothing is imported or loaded for it.

    [suite]
    out = "runs/night"
    seeds = [0, 1, 2]

    [[benchmark]]
    name = "cifar100"
    embedded = true

    [[strategy]]
    name = "zscl"

    [[strategy]]
    compose = [{ name = "zscl" }, { name = "replay", size = 100 }]

    [[cell]]
    strategy = "zscl"
    set.temperature = 1.0

Tables of plugins hold their options, as in the configuration of a run. A table ``[[cell]]`` names cells, and what is
different in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from mmcl.arguments import default_backbone, override
from mmcl.config import RunConfig, load_toml
from mmcl.errors import ConfigError
from mmcl.options import instantiate, require_known, wrong_value
from mmcl.suites.choice import Choice, choice, composition, tables
from mmcl.suites.rule import Rule, require_choices


@dataclass(frozen=True)
class Cell:
    """One run of a suite.

    Attributes:
        name: such as ``mtil/zscl/seed0``, its folder below that of the suite.
        config: what is run, ``out`` included.
    """

    name: str
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        assert self.config.out is not None
        return Path(self.config.out)


@dataclass(frozen=True)
class Settings:
    """What the table ``[suite]`` of a file says."""

    out: str
    seeds: tuple[int, ...] = (0,)
    log: tuple[str, ...] = ()
    probe: int = 0


def read_suite(file: Path) -> dict[str, Any]:
    """The content of a suite's file.

    Raises:
        ConfigError: if it cannot be read or is not TOML.
    """
    allowed = "a TOML file with [suite], [[benchmark]] and [[strategy]], as docs/suites.md has one"
    return load_toml(file, f"suite {file}", allowed)


def plan(content: Mapping[str, Any], who: str, out: str | None = None) -> list[Cell]:
    """The cells of a suite, benchmark by benchmark, seeds last.

    Args:
        content: of the file.
        who: the suite, for sentences.
        out: a folder instead of the one that the file names.

    Raises:
        ConfigError: if a key is unknown, a value wrong, a table ``[[cell]]`` is about no cell, or two cells would have
            one name.
    """
    require_known(content, {"suite", "training", "benchmark", "backbone", "strategy", "cell"}, who)
    table = dict(_mapping(content.get("suite", {}), f"{who} [suite]")) | ({} if out is None else {"out": out})
    settings: Settings = instantiate(Settings, table, f"{who} [suite]")
    training = _mapping(content.get("training", {}), f"{who} [training]")
    benchmarks = [choice(row, f"{who} [[benchmark]]") for row in tables(content, "benchmark", who)]
    backbones = [choice(row, f"{who} [[backbone]]") for row in tables(content, "backbone", who)]
    strategies = [composition(row, f"{who} [[strategy]]") for row in tables(content, "strategy", who)]
    rules: list[Rule] = [instantiate(Rule, row, f"{who} [[cell]]") for row in tables(content, "cell", who)]
    if not benchmarks:
        raise ConfigError(who, found="no [[benchmark]]", allowed="one or more, each with a name", remedy="Add one.")
    if not settings.seeds:
        raise ConfigError(f"{who} [suite]", found="no seeds", allowed="one or more", remedy="Write seeds = [0].")
    for rule in rules:
        require_choices(rule, benchmarks, backbones, strategies, who)
    cells, used = [], set()
    choices = product(benchmarks, backbones or [Choice("", ())], strategies or [Choice("finetune", ())], settings.seeds)
    for benchmark, backbone, strategy, seed in choices:
        about = [rule for rule in rules if rule.holds(benchmark, backbone, strategy, seed)]
        used |= set(map(id, about))
        if any(rule.leave_out for rule in about):
            continue
        name = "/".join(label for label in (benchmark.label, backbone.label, strategy.label, f"seed{seed}") if label)
        config = RunConfig(
            benchmark=benchmark.plugins[0],
            backbone=backbone.plugins[0] if backbone.plugins else default_backbone(benchmark.plugins[0]),
            strategies=strategy.plugins,
            training=dict(training),
            seed=seed,
            out=str(Path(settings.out) / name),
            log=settings.log,
            probe=settings.probe,
        )
        for rule in about:
            config = override(config, rule.settings, f"{who} [[cell]].set")
        cells.append(Cell(name, config))
    _require_sound(cells, [rule for rule in rules if id(rule) not in used], who)
    return cells


def _mapping(value: Any, who: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_value(who, value, "a table")
    return value


def _require_sound(cells: Sequence[Cell], idle: Sequence[Rule], who: str) -> None:
    names = [cell.name for cell in cells]
    if idle:
        raise ConfigError(
            f"{who} [[cell]]",
            found=f"no cell is what one of these tables names ({idle[0]})",
            allowed="benchmark, backbone, strategy and seed of cells that exist",
            remedy="Change or remove it.",
        )
    if not cells:
        raise ConfigError(
            who, found="every cell is left out", allowed="one cell or more", remedy="Remove a table with leave_out."
        )
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(
            who,
            found=f"{names.count(twice[0])} cells called {twice[0]}",
            allowed="a name for every cell",
            remedy='Give one of the tables another label = "...", or keep one of the same.',
        )
    first: dict[str, str] = {}
    for cell in cells:
        other = first.setdefault(repr(replace(cell.config, out=None)), cell.name)
        if other != cell.name:
            raise ConfigError(
                who,
                found=f"{other} and {cell.name} are one run under two names",
                allowed="cells that differ in a setting or in the seed",
                remedy="Keep one of them.",
            )
