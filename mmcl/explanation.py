"""Explanation: what a composition will do, from what its parts declare and which hooks they define.

    mmcl.explain(["ewc", "zscl"], benchmark="mtil").hooks["after_training_exp"]

Strategy classes are imported; no weights and no data are loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mmcl.arguments import parse_backbone, parse_plugin
from mmcl.build import build_plugin, check_distinct, surroundings
from mmcl.errors import CompositionError, ConfigError, nearest
from mmcl.escaping import plain
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition, consolidation_order, inhabited, needs, occupants
from mmcl.learning.strategy import StrategyPlugin, Terms
from mmcl.learning.timeline import METHOD_OF_SLOT, STEP, TIMELINE
from mmcl.models.backbone import BackbonePlugin
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, name_of, options_of
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import NAMED, Scenario

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Requirement:
    """One need: who has it, what it is, and whether it is met (``None``: not known before more is named or read)."""

    who: str
    what: str
    met: bool | None


@dataclass(frozen=True)
class Explanation:
    """What a composition will do.

    Attributes:
        strategies: their names, in the user's order.
        refusal: why it cannot run, if it cannot.
        slots: slot -> who takes it.
        needs: what scenario and strategies cannot do without.
        hooks: method -> strategies in the order in which they are called; methods in order of time.
        terms: strategy -> names of what it may add to loss and gradient; strategies that declare none are absent.
        teachers: frozen copy of the model -> who reads it. Each costs the memory of one model.
        state: strategy -> field -> what it keeps between experiences.
    """

    strategies: tuple[str, ...]
    refusal: CompositionError | None
    slots: Mapping[str, str]
    needs: tuple[Requirement, ...]
    hooks: Mapping[str, tuple[str, ...]]
    terms: Mapping[str, Terms]
    teachers: Mapping[str, tuple[str, ...]]
    state: Mapping[str, Mapping[str, str]]

    @property
    def step(self) -> dict[str, tuple[str, ...]]:
        """The hooks of one training step."""
        return {method: names for method, names in self.hooks.items() if method in STEP}

    def table(self) -> "Table":
        """Everything as a rich table of topics."""
        from rich.table import Table
        from rich.text import Text

        words = {True: "met", False: "not met", None: "not known yet"}
        rest = [item for item in self.hooks.items() if item[0] not in STEP and item[0] != "after_training_exp"]
        topics = {
            "slots taken": [f"{slot}: {name}" for slot, name in self.slots.items()],
            "needs": [f"{need.who}: {need.what} ({words[need.met]})" for need in self.needs],
            "a training step": _in_order(self.step.items()),
            "added to the loss": self._added("loss_terms", 0),
            "added to the gradient": self._added("gradient_terms", 1),
            "end of an experience": [", ".join(self.hooks.get("after_training_exp", ()))],
            "called at other times": _in_order(rest),
            "copies of the model": [f"{teacher}: read by {', '.join(who)}" for teacher, who in self.teachers.items()],
            "kept between experiences": [
                f"{name}.{field}" + (f": {comment}" if comment else "")
                for name, kept in self.state.items()
                for field, comment in kept.items()
            ],
        }
        title = Text(plain(" + ".join(self.strategies) or "no strategy"))
        table = Table(title=title, title_justify="left", show_header=False)
        for topic, lines in topics.items():
            table.add_row(topic, Text("\n".join(map(plain, lines)) or "nothing", overflow="fold"))
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(replace(self, refusal=None)), "refusal": None if self.refusal is None else str(self.refusal)}

    def _added(self, method: str, side: int) -> list[str]:
        lines = []
        for name in self.hooks.get(method, ()):
            known = name in self.terms
            lines += [f"{name}/{term}" for term in self.terms[name][side]] if known else [f"{name}: names not declared"]
        return lines


@checked
def explain(
    strategies: Sequence[str | StrategyPlugin],
    *,
    benchmark: str | BenchmarkPlugin | Benchmark | None = None,
    scenario: str | Scenario | None = None,
    backbone: str | BackbonePlugin | None = None,
) -> Explanation:
    """Say what a composition will do, or why it is refused. What is not named is not checked.

    Args:
        strategies: names with options such as ``"ewc:strength=100"``, or strategy objects, in order.
        benchmark: a name with options such as ``"cifar100:task_ids=true"``, a plugin, or a benchmark whose data have
            been read.
        scenario: a name such as ``"CIL"``, instead of a benchmark.
        backbone: a name such as ``"glyph-clip"``, or a plugin.

    Raises:
        PluginError: if a name is unknown.
        ConfigError: if an option or the scenario is wrong, or a strategy is named twice.
    """
    built = [_strategy(strategy) for strategy in strategies]
    names, objects = [name for name, _ in built], [strategy for _, strategy in built]
    check_distinct(names)
    around = inhabited(_surroundings(benchmark, scenario, backbone), objects)
    try:
        check_composition(objects, names, around)
        refusal = None
    except CompositionError as error:
        refusal = error
    return Explanation(
        strategies=tuple(names),
        refusal=refusal,
        slots={slot.name: " and ".join(who) for slot, who in occupants(objects, names).items()},
        needs=tuple(
            Requirement(who, need.what, need.met(around)) for who, need in needs(objects, names, around.scenario)
        ),
        hooks=_hooks(dict(built)),
        terms={name: strategy.terms() for name, strategy in built if strategy.overrides("terms")},
        teachers={
            teacher: tuple(name for name, strategy in built if teacher in map(str, strategy.teachers))
            for teacher in sorted({str(teacher) for strategy in objects for teacher in strategy.teachers})
        },
        state={name: _kept(strategy) for name, strategy in built if strategy.state is not None},
    )


def _strategy(strategy: str | StrategyPlugin) -> tuple[str, StrategyPlugin]:
    if isinstance(strategy, StrategyPlugin):
        return name_of(STRATEGIES, type(strategy)), strategy
    config = parse_plugin(strategy)
    return config.name, build_plugin(STRATEGIES, config)


def _surroundings(
    benchmark: str | BenchmarkPlugin | Benchmark | None,
    scenario: str | Scenario | None,
    backbone: str | BackbonePlugin | None,
) -> Surroundings:
    if isinstance(scenario, str):
        if scenario not in NAMED:
            raise ConfigError(
                f"scenario {scenario!r}",
                found="there is no scenario of this name",
                allowed=", ".join(NAMED),
                remedy=nearest(scenario, NAMED),
            )
        scenario = NAMED[scenario]
    declared = surroundings(
        build_plugin(BACKBONES, parse_backbone(backbone)) if isinstance(backbone, str) else backbone,
        build_plugin(BENCHMARKS, parse_plugin(benchmark)) if isinstance(benchmark, str) else benchmark,
        benchmark.reference is not None if isinstance(benchmark, Benchmark) else None,
    )
    if scenario is None:
        return declared
    if declared.scenario not in (None, scenario):
        raise ConfigError(
            f"scenario {scenario.name!r}",
            found="the benchmark has another one",
            allowed=declared.scenario.name,
            remedy="Name the benchmark or the scenario.",
        )
    return replace(declared, scenario=scenario)


def _hooks(strategies: Mapping[str, StrategyPlugin]) -> dict[str, tuple[str, ...]]:
    """Who is called when; the end of an experience has an order of its own."""
    name_of_object = {id(strategy): name for name, strategy in strategies.items()}
    hooks = {}
    for method in TIMELINE:
        called = [strategy for strategy in strategies.values() if strategy.overrides(method)]
        if method == "after_training_exp":
            called = consolidation_order(called)
        if method in METHOD_OF_SLOT.values():
            called = [s for s in called if any(METHOD_OF_SLOT.get(slot) == method for slot in s.slots)]
        if called:
            hooks[method] = tuple(name_of_object[id(strategy)] for strategy in called)
    return hooks


def _kept(strategy: StrategyPlugin) -> dict[str, str]:
    """Fields of the state with the comments behind them, where the source can be read."""
    comments = {option.name: option.comment for option in options_of(type(strategy.state))}
    return {field.name: comments.get(field.name, "") for field in fields(strategy.state)}


def _in_order(calls: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [f"{method}: {', '.join(names)}" for method, names in calls]
