"""From names and options to plugin objects."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmcl.config import IN_MEMORY, PluginConfig, RunConfig
from mmcl.errors import ConfigError
from mmcl.evaluation.loggers import check_loggers
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import PLACES, instantiate
from mmcl.probe_needs import check_probe
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, load
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.extension import with_data


def build_plugin(group: str, config: PluginConfig) -> Any:
    """Load the class a configuration names and give it its options.

    Raises:
        PluginError: if there is no such plugin or it is broken.
        ConfigError: if an option is unknown or has a wrong value.
    """
    return instantiate(load(group, config.name), config.options, config.name)


@checked
def benchmark(name: str, **options: Any) -> Any:
    """A benchmark plugin with its options; its data are read when it is run, or by ``build()``."""
    return build_plugin(BENCHMARKS, PluginConfig(name, options))


@checked
def strategy(name: str, **options: Any) -> Any:
    """A strategy with its hyper-parameters."""
    return build_plugin(STRATEGIES, PluginConfig(name, options))


@checked
def backbone(name: str, **options: Any) -> Any:
    """A backbone plugin with its options; its weights are loaded when it is run, or by ``build()``."""
    return build_plugin(BACKBONES, PluginConfig(name, options))


@dataclass(frozen=True)
class Plan:
    """The parts of a run, which fit together as far as that is known before any data and weights are read."""

    config: RunConfig
    strategies: Mapping[str, StrategyPlugin]
    backbone: BackbonePlugin
    benchmark: BenchmarkPlugin | Benchmark

    def read(self, learned: Sequence[Mapping[str, Any]] = ()) -> Benchmark:
        """Read the data, those included that ``extend`` has added.

        Args:
            learned: the experiences that the run has recorded, those of the benchmark included.

        Raises:
            CompositionError: if a strategy needs what reading has shown not to be there.
        """
        benchmark = self.benchmark if isinstance(self.benchmark, Benchmark) else self.benchmark.build()
        for place in self.config.extensions:
            benchmark = with_data(benchmark, Path(place), learned[len(benchmark.experiences) :])
        around = surroundings(self.backbone, benchmark, benchmark.reference is not None)
        check_composition(list(self.strategies.values()), list(self.strategies), around)
        return benchmark


def planned(config: RunConfig, benchmark: Benchmark | None = None) -> Plan:
    """Build the parts that a configuration names and refuse what does not fit together.

    Args:
        config: what is to be run.
        benchmark: the one that was built in Python, for configurations that name none.

    Raises:
        MMCLError: a subclass says what is wrong; no data and no weights have been touched.
    """
    strategies = build_strategies(config)
    check_loggers(config.log)
    backbone: BackbonePlugin = build_plugin(BACKBONES, config.backbone)
    stream = benchmark or benchmark_plugin(config.benchmark)
    around = surroundings(backbone, stream, None if benchmark is None else benchmark.reference is not None)
    check_composition(list(strategies.values()), list(strategies), around)
    check_probe(config, around)
    return Plan(config, strategies, backbone, stream)


def surroundings(
    backbone: "BackbonePlugin | None" = None,
    benchmark: "Benchmark | BenchmarkPlugin | None" = None,
    reference_data: bool | None = None,
) -> Surroundings:
    """What a composition runs in, as backbone and benchmark declare it.

    Args:
        backbone: a plugin, whose options may decide what it encodes.
        benchmark: a plugin, whose options may decide the scenario, or a benchmark whose data have been read.
        reference_data: whether the benchmark has any, if its data have been read.
    """
    return Surroundings(
        scenario=None if benchmark is None else benchmark.scenario,
        towers=None if backbone is None else backbone.reads,
        reference_data=reference_data,
        modalities=None if benchmark is None else benchmark.modalities,
        answers=None if benchmark is None else benchmark.objective.answers,
        writes=None if backbone is None else backbone.writes,
    )


def located(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths of data, so that a run can be continued from any working directory."""

    def absolute(plugin: PluginConfig) -> PluginConfig:
        places = {name: os.path.abspath(plugin.options[name]) for name in sorted(PLACES) if plugin.options.get(name)}
        return PluginConfig(plugin.name, {**plugin.options, **places})

    return replace(
        config,
        benchmark=absolute(config.benchmark),
        strategies=tuple(map(absolute, config.strategies)),
        extensions=tuple(map(os.path.abspath, config.extensions)),
    )


def build_strategies(config: RunConfig) -> dict[str, StrategyPlugin]:
    """The strategies by the name the user gave them, in order."""
    named = [(strategy.name, build_plugin(STRATEGIES, strategy)) for strategy in config.strategies]
    check_distinct([name for name, _ in named])
    return dict(named)


def check_distinct(names: Sequence[str]) -> None:
    """Refuse a strategy that is named twice."""
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ConfigError(
            f"composition of {', '.join(names)}",
            found=f"{twice[0]!r} is there {list(names).count(twice[0])} times",
            allowed="each strategy once",
            remedy=f"Keep one {twice[0]!r}.",
        )


def benchmark_plugin(config: PluginConfig) -> BenchmarkPlugin:
    """The plugin of a benchmark, whose data have not been read.

    Raises:
        ConfigError: if the configuration names a stream that was made in Python.
    """
    if config.name.startswith(IN_MEMORY):
        raise ConfigError(
            f"benchmark {config.name!r}",
            found="a stream that was made in Python, which no command line can make again",
            allowed="the same stream, handed over in Python",
            remedy="Make it again there and go on with mmcl.run, mmcl.resume or mmcl.extend(..., benchmark=stream). "
            "Runs of 'mmcl run own --data DATA' need no Python.",
        )
    plugin: BenchmarkPlugin = build_plugin(BENCHMARKS, config)
    return plugin
