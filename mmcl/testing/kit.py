"""The kit: which checks there are for whom, and the ways to ask for them."""

from collections.abc import Callable, Mapping
from typing import Any

from mmcl.arguments import parse_of, registered_groups
from mmcl.errors import ConfigError, PluginError, nearest
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.registry import BACKBONES, BENCHMARKS, GROUPS, STRATEGIES, kind_of, load
from mmcl.streams.benchmark import BenchmarkPlugin
from mmcl.testing.check import Check, Subject, require, subject_of
from mmcl.testing.promises.backbone_checks import BACKBONE_CHECKS
from mmcl.testing.promises.benchmark_checks import BENCHMARK_CHECKS
from mmcl.testing.promises.strategy_checks import STRATEGY_CHECKS

CHECKS: Mapping[str, tuple[Check, ...]] = {
    STRATEGIES: STRATEGY_CHECKS,
    BENCHMARKS: BENCHMARK_CHECKS,
    BACKBONES: BACKBONE_CHECKS,
}
_BASES: Mapping[str, type] = {STRATEGIES: StrategyPlugin, BENCHMARKS: BenchmarkPlugin, BACKBONES: BackbonePlugin}


def check_strategy(strategy: Any) -> None:
    """Examine a strategy: a name, a class or an object.

    Raises:
        ConformanceError: at the first broken promise.
    """
    require(STRATEGY_CHECKS, subject_of(strategy, STRATEGIES))


def check_benchmark(benchmark: Any) -> None:
    """Examine a benchmark: a name, a class or an object.

    Raises:
        ConformanceError: at the first broken promise.
    """
    require(BENCHMARK_CHECKS, subject_of(benchmark, BENCHMARKS))


def check_backbone(backbone: Any) -> None:
    """Examine a backbone: a name, a class or an object.

    Raises:
        ConformanceError: at the first broken promise.
    """
    require(BACKBONE_CHECKS, subject_of(backbone, BACKBONES))


def parametrize_checks(plugin: Any, kind: str | None = None) -> Callable[[Any], Any]:
    """Give a test the arguments ``check`` and ``plugin``, once for each promise of a plugin.

    Args:
        plugin: a name, a class or an object.
        kind: ``"strategy"``, ``"benchmark"`` or ``"backbone"``, for names that several kinds have.

    Raises:
        PluginError: if there is no such plugin.
    """
    import pytest  # a tool of developers, which runs have no use for

    subject = examined(plugin, kind)
    cases = [pytest.param(check, subject, id=check.name) for check in CHECKS[subject.group]]
    return pytest.mark.parametrize(("check", "plugin"), cases)


def examined(plugin: Any, kind: str | None = None) -> Subject:
    """A plugin of any kind, ready for the checks of its kind.

    Raises:
        PluginError: if there is no such plugin.
        ConfigError: if several kinds have a plugin of this name, or its options are wrong.
    """
    return subject_of(plugin, _group(plugin) if kind is None else _group_of_kind(kind))


def _group_of_kind(kind: str) -> str:
    known = {kind_of(group): group for group in GROUPS}
    if kind not in known:
        raise ConfigError("kind", found=f"{kind!r}", allowed=", ".join(known), remedy=nearest(kind, known))
    return known[kind]


def _group(plugin: Any) -> str:
    """The group that a plugin belongs to."""
    if not isinstance(plugin, str):
        kind = plugin if isinstance(plugin, type) else type(plugin)
        found = [group for group, base in _BASES.items() if issubclass(kind, base)]
        if not found:
            raise PluginError(
                f"{kind.__module__}:{kind.__qualname__}",
                found="it is neither a strategy nor a benchmark nor a backbone",
                allowed=", ".join(base.__name__ for base in _BASES.values()),
                remedy="Derive the class from one of these.",
            )
        return found[0]
    if groups := registered_groups(plugin):
        if len(groups) > 1:
            raise ConfigError(
                f"plugin {plugin!r}",
                found=f"there is a {' and a '.join(map(kind_of, groups))} of this name",
                allowed="one kind at a time",
                remedy="Say which with --kind.",
            )
        return groups[0]
    refusals = []
    for group in GROUPS:
        try:
            load(group, parse_of(group, plugin).name)
        except PluginError as refusal:
            refusals.append(refusal)
        else:
            return group
    raise refusals[0]
