"""From names and options to plugin objects."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcl.config import IN_MEMORY, PluginConfig, RunConfig
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.evaluation.loggers import check_loggers
from mmcl.learning.compose import Surroundings, check_composition
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import PLACES, instantiate
from mmcl.probe import check_probe
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


def check_before_loading(config: RunConfig, benchmark: Benchmark | None = None) -> None:
    """Refuse what does not fit together before any data or weights are touched.

    Args:
        config: what is to be run.
        benchmark: the one that was built in Python, for configurations that name none.
    """
    strategies = build_strategies(config)
    check_loggers(config.log)
    backbone = build_plugin(BACKBONES, config.backbone)
    if benchmark is None:
        around = surroundings(backbone, benchmark_plugin(config.benchmark))
    else:
        around = surroundings(backbone, benchmark, benchmark.reference is not None)
    check_composition(list(strategies.values()), list(strategies), around)
    check_probe(config, around)


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
        backbone_modalities=None if backbone is None else backbone.modalities,
        reference_data=reference_data,
        stream_modalities=None if benchmark is None else benchmark.modalities,
        generates=None if backbone is None else backbone.generates,
        classifies=None if benchmark is None else benchmark.objective == "classification",
        contrasts=None
        if benchmark is None
        else benchmark.objective == "contrastive" and benchmark.modalities == {IMAGE, TEXT},
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


def build_benchmark(config: RunConfig, strategies: Mapping[str, StrategyPlugin], backbone: BackbonePlugin) -> Benchmark:
    """Check the composition against the benchmark's declared scenario, then read its data.

    Raises:
        ConfigError: if the configuration names a stream that was made in Python.
    """
    plugin = benchmark_plugin(config.benchmark)
    check_composition(list(strategies.values()), list(strategies), surroundings(backbone, plugin))
    return plugin.build()


def extended(benchmark: Benchmark, config: RunConfig, learned: Sequence[Mapping[str, Any]] = ()) -> Benchmark:
    """The benchmark with the data that ``extend`` has added.

    Args:
        benchmark: without them.
        config: which names their places.
        learned: the experiences that the run has recorded, those of the benchmark included.
    """
    for place in config.extensions:
        benchmark = with_data(benchmark, Path(place), learned[len(benchmark.experiences) :])
    return benchmark
