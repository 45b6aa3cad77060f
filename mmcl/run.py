"""Run an experiment: build the parts, learn one experience after the other, evaluate, save.

    result = mmcl.run(benchmark=mmcl.benchmark("mtil", embedded=True), backbone="glyph-clip", strategies=["zscl"])

A run is a small configuration and a folder. ``resume`` continues a run that was interrupted, ``extend`` adds an
experience to one that has ended; both give the numbers that an uninterrupted run would have given.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from mmcl.arguments import default_backbone, parse_backbone, parse_strategy
from mmcl.build import check_before_loading
from mmcl.config import PluginConfig, RunConfig
from mmcl.errors import CheckpointError, ConfigError
from mmcl.experiment import Experiment, names_of
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, kind_of, name_of
from mmcl.results import RunResult
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin


def run(
    config: RunConfig | None = None,
    *,
    benchmark: "str | BenchmarkPlugin | Benchmark | None" = None,
    backbone: str | BackbonePlugin | None = None,
    strategies: Sequence[str | StrategyPlugin] = (),
    training: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    log: Sequence[str] = (),
    probe: int = 0,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
) -> RunResult:
    """Run a configuration, or compose one from names and objects.

    Args:
        config: a complete configuration; the other arguments but ``quiet`` and ``plugins`` are then not read.
        benchmark: a name, the plugin that ``mmcl.benchmark`` returns, or a ``Benchmark`` made of your own data.
        backbone: a name such as ``"openclip:ViT-B-16/openai"``, or a plugin; by default that model for data of
            your own disk and ``"glyph-clip"`` for embedded and in-memory benchmarks.
        strategies: names with options such as ``"ewc:strength=100"``, or strategy objects.
        training: fields of ``TrainingConfig``.
        seed: every random choice follows from it.
        out: the run folder; by default ``runs/BENCHMARK-STRATEGIES-seedN``.
        log: ``"wandb"`` and ``"tensorboard"``.
        probe: number of test pairs of images and texts whose features are kept after every experience; they show how
            the spaces of a CLIP-like model turn (``docs/spatial_disorder.md``).
        quiet: no progress bars.
        plugins: avalanche plugins, called after the strategies (``docs/avalanche.md``). They are objects, not part of
            the configuration: ``resume`` and ``extend`` want them again.

    Raises:
        MMCLError: a subclass says what is wrong; nothing is loaded if the parts do not fit together.
    """
    built = benchmark if isinstance(benchmark, Benchmark) else None
    if config is None:
        if benchmark is None:
            raise ConfigError(
                "mmcl.run",
                found="no benchmark",
                allowed="a name, mmcl.benchmark(...), or a Benchmark",
                remedy="For example: mmcl.run(benchmark=mmcl.benchmark('mtil', embedded=True)).",
            )
        named = PluginConfig(f"in-memory:{built.name}") if built else _as_config(BENCHMARKS, benchmark)
        config = RunConfig(
            benchmark=named,
            backbone=_as_config(BACKBONES, backbone) if backbone is not None else default_backbone(named),
            strategies=tuple(_as_config(STRATEGIES, strategy) for strategy in strategies),
            training=dict(training or {}),
            seed=seed,
            out=None if out is None else str(out),
            log=tuple(log),
            probe=probe,
        )
    return run_config(config, benchmark=built, quiet=quiet, plugins=plugins)


def run_config(
    config: RunConfig, benchmark: Benchmark | None = None, quiet: bool = False, plugins: Sequence[Any] = ()
) -> RunResult:
    """Run a configuration into a new folder."""
    check_before_loading(config, benchmark)
    folder = RunFolder.claim(Path(config.out or default_folder(config)))
    try:
        experiment = Experiment(config, folder, benchmark, quiet, plugins)
        folder.begin(config, experiment.plugin_names)
    finally:
        folder.release()
    return experiment.run()


def resume(
    path: Path, benchmark: Benchmark | None = None, quiet: bool = False, plugins: Sequence[Any] = ()
) -> RunResult:
    """Continue an interrupted run; the numbers are those of a run that was never interrupted.

    That holds for MMCL's strategies. Checkpoints hold nothing of avalanche's plugins: those start anew, without what
    they remembered.

    Args:
        path: the run folder.
        benchmark: for runs whose benchmark was built in Python.
        quiet: no progress bars.
        plugins: new objects of the classes that the run was started with.

    Raises:
        CheckpointError: if the run was started with other plugins.
    """
    folder = RunFolder.open(path)
    folder.require_plugins(names_of(plugins))
    experiment = Experiment(folder.config, folder, benchmark, quiet, plugins)
    experiment.restore()
    return experiment.run()


def extend(
    path: Path,
    data: Path | None = None,
    benchmark: Benchmark | None = None,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
) -> RunResult:
    """Learn one more experience after a run has ended: the next one of its benchmark, or a folder of images.

    Args:
        path: the run folder.
        data: images in one sub-folder per class, optionally below ``train`` and ``test``.
        benchmark: for runs whose benchmark was built in Python, the longer one.
        quiet: no progress bars.
        plugins: as in ``resume``.

    Raises:
        CheckpointError: if the run has not ended, or was started with other plugins.
        ConfigError: if its benchmark has no further experience.
    """
    folder = RunFolder.open(path)
    folder.require_plugins(names_of(plugins))
    config, progress = folder.config, folder.progress
    if progress is None or progress["experiences_done"] < progress["experiences"]:
        raise CheckpointError(
            f"run folder {path}",
            found="the run has not ended",
            allowed="a run that has learned all its experiences",
            remedy=f"First 'mmcl resume {path}'.",
        )
    if data is not None:
        longer = replace(config, extensions=(*config.extensions, str(data)))
    elif benchmark is None:
        if config.extensions or config.benchmark.options.get("experiences") is None:
            raise ConfigError(
                f"run folder {path}",
                found="its stream has no further experience",
                allowed="a run that was limited with --set benchmark.experiences=N, or new data",
                remedy="Name a folder of images with --data.",
            )
        options = {**config.benchmark.options, "experiences": config.benchmark.options["experiences"] + 1}
        longer = replace(config, benchmark=PluginConfig(config.benchmark.name, options))
    else:
        longer = config
    experiment = Experiment(longer, folder, benchmark, quiet, plugins)
    if len(experiment.benchmark.experiences) == progress["experiences_done"]:
        raise ConfigError(
            f"run folder {path}",
            found=f"its benchmark ends after {progress['experiences_done']} experiences",
            allowed="a longer stream or new data",
            remedy="Name a folder of images with --data.",
        )
    experiment.restore()
    folder.begin(longer, experiment.plugin_names)
    return experiment.run()


def default_folder(config: RunConfig) -> str:
    """``runs/BENCHMARK-STRATEGIES-seedN``."""
    names = "+".join(strategy.name for strategy in config.strategies) or "finetune"
    return f"runs/{config.benchmark.name}-{names}-seed{config.seed}".replace(":", "-")


def _as_config(group: str, plugin: Any) -> PluginConfig:
    if isinstance(plugin, str):
        return parse_backbone(plugin) if group == BACKBONES else parse_strategy(plugin)
    name, changed = name_of(group, type(plugin)), {}
    if not is_dataclass(plugin):
        raise ConfigError(
            f"{kind_of(group)} {name!r}",
            found="it has no fields, so that a run could not be repeated from its configuration",
            allowed="a name, or an object of a dataclass",
            remedy="Decorate the class with @dataclass(kw_only=True).",
        )
    for option in fields(plugin):
        value = getattr(plugin, option.name)
        if option.init and value != option.default:
            changed[option.name] = value
    return PluginConfig(name, changed)


class _CallableModule(ModuleType):
    """``mmcl.run`` is both this module and, for users, the function: importing the module would hide the latter."""

    def __call__(self, *arguments: Any, **options: Any) -> RunResult:
        return run(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
