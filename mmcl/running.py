"""Run an experiment: build the parts, learn one experience after the other, evaluate, save.

    result = mmcl.run(benchmark=mmcl.benchmark("mtil", embedded=True), backbone="glyph-clip", strategies=["zscl"])

A run is a small configuration and a folder. ``resume`` continues a run that was interrupted, ``extend`` adds an
experience to one that has ended; both give the numbers that an uninterrupted run would have given.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from mmcl.arguments import default_backbone, parse_of
from mmcl.build import benchmark_plugin, located, planned
from mmcl.claim import claimed, held
from mmcl.config import IN_MEMORY, PluginConfig, RunConfig
from mmcl.errors import CheckpointError, ConfigError
from mmcl.experiment import Experiment, names_of
from mmcl.identity import EXTENSIONS
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.progress import View
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, kind_of, name_of
from mmcl.relocation import relocated
from mmcl.results import RunResult
from mmcl.run_folder import RunFolder
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.views import make_view


@checked
def run(
    config: RunConfig | None = None,
    *,
    benchmark: "str | BenchmarkPlugin | Benchmark | None" = None,
    backbone: str | BackbonePlugin | None = None,
    strategies: Sequence[str | StrategyPlugin] = (),
    training: Mapping[str, Any] | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    log: Sequence[str] = (),
    probe: int | None = None,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
    progress: str = "auto",
) -> RunResult:
    """Run a configuration, or compose one from names and objects.

    Args:
        config: a complete configuration, which leaves room for ``quiet``, ``progress`` and ``plugins`` beside it only.
        benchmark: a name, the plugin that ``mmcl.benchmark`` returns, or a ``Benchmark`` made of your own data.
        backbone: a name such as ``"openclip:ViT-B-16/openai"``, or a plugin; by default that model for data of
            your own disk and ``"glyph-clip"`` for embedded and in-memory benchmarks.
        strategies: names with options such as ``"ewc:strength=100"``, or strategy objects.
        training: fields of ``TrainingConfig``.
        seed: every random choice follows from it; by default 0.
        out: the run folder; by default ``runs/BENCHMARK-STRATEGIES-seedN``.
        log: ``"wandb"`` and ``"tensorboard"``.
        probe: number of test pairs of images and texts whose features are kept after every experience; they show how
            the spaces of a CLIP-like model turn (``docs/spatial_disorder.md``).
        quiet: show nothing, as ``progress="off"`` does.
        plugins: avalanche plugins, called after the strategies (``docs/avalanche.md``). They are objects, not part of
            the configuration: ``resume`` and ``extend`` want them again.
        progress: ``"auto"`` (bars on a terminal and in a notebook, else a line now and then), ``"plain"`` (lines),
            ``"json"`` (an object in every line) or ``"off"``.

    Raises:
        MMCLError: a subclass says what is wrong; nothing is loaded if the parts do not fit together.
    """
    built = benchmark if isinstance(benchmark, Benchmark) else None
    if config is not None:
        beside: dict[str, Any] = {
            "backbone": backbone,
            "strategies": strategies,
            "training": training,
            "seed": seed,
            "out": out,
        }
        beside |= {"benchmark": None if built else benchmark, "log": log, "probe": probe}
        if ignored := [name for name, value in beside.items() if value not in (None, (), [], {})]:
            raise ConfigError(
                "mmcl.run",
                found=f"a configuration and {', '.join(ignored)} beside it",
                allowed="one of them: the configuration says all of that",
                remedy="Change the configuration with dataclasses.replace.",
            )
    else:
        if benchmark is None:
            raise ConfigError(
                "mmcl.run",
                found="no benchmark",
                allowed="a name, mmcl.benchmark(...), or a Benchmark",
                remedy="For example: mmcl.run(benchmark=mmcl.benchmark('mtil', embedded=True)).",
            )
        named = _in_memory(built) if built else _as_config(BENCHMARKS, benchmark)
        config = RunConfig(
            benchmark=named,
            backbone=_as_config(BACKBONES, backbone) if backbone is not None else default_backbone(named),
            strategies=tuple(_as_config(STRATEGIES, strategy) for strategy in strategies),
            training=dict(training or {}),
            seed=0 if seed is None else seed,
            out=None if out is None else str(out),
            log=tuple(log),
            probe=0 if probe is None else probe,
        )
    return run_config(config, benchmark=built, quiet=quiet, plugins=plugins, progress=progress)


def run_config(
    config: RunConfig,
    benchmark: Benchmark | None = None,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
    progress: str = "auto",
) -> RunResult:
    """Run a configuration into a new folder."""
    view, config = make_view(progress, quiet), located(config)
    plan = planned(config, benchmark)
    with claimed(config.folder) as folder:
        experiment = Experiment(plan, folder, view, plugins)
        experiment.begin()
        return experiment.run()


@checked
def resume(
    path: str | Path,
    benchmark: Benchmark | None = None,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
    data_root: str | Path | None = None,
    data: Sequence[str | Path] = (),
    trust: bool = False,
    progress: str = "auto",
) -> RunResult:
    """Continue an interrupted run; the numbers are those of a run that was never interrupted.

    That holds for MMCL's strategies. Checkpoints hold nothing of avalanche's plugins: those start anew, without what
    they remembered.

    Args:
        path: the run folder.
        benchmark: for runs whose benchmark was built in Python.
        quiet: show nothing.
        plugins: new objects of the classes that the run was started with.
        data_root: where the benchmark's data are now, if they have moved.
        data: where the folders are now that have extended the run, all of them in their order.
        trust: let code run that the folder names, although nobody has registered it (``mmcl.trust``).
        progress: as in ``run``.

    Raises:
        PluginError: if the folder names such code, and it is not trusted.
        CheckpointError: if this is not the experiment that the run was begun with; the sentence says what differs.
    """
    view = make_view(progress, quiet)
    with held(Path(path), trust) as folder:
        folder.require_plugins(names_of(plugins))
        config = relocated(folder, data_root, data)
        experiment = Experiment(planned(config, benchmark), folder, view, plugins)
        experiment.restore(may_grow=_extension_was_interrupted(experiment, benchmark is None))
        experiment.begin()
        return experiment.run()


@checked
def extend(
    path: str | Path,
    data: str | Path | None = None,
    benchmark: Benchmark | None = None,
    quiet: bool = False,
    plugins: Sequence[Any] = (),
    trust: bool = False,
    progress: str = "auto",
) -> RunResult:
    """Learn on after a run has ended: the next experience of its benchmark, or data of your own.

    Data in which a column or folders tell several experiences apart, as in the run's own, are learned as so many.
    Classes that the run knows by name keep their ids, unless every experience has classes of its own.

    Args:
        path: the run folder.
        data: a folder with a sub-folder for each class, optionally below ``train`` and ``test``; a CSV file; a saved
            data set; or a folder of these.
        benchmark: for runs whose benchmark was built in Python, the longer one.
        quiet: show nothing.
        plugins: as in ``resume``.
        trust: as in ``resume``.
        progress: as in ``run``.

    Raises:
        CheckpointError: if the run has not ended, or what it has learned is not what is there now.
        ConfigError: if its benchmark has no further experience.
    """
    view = make_view(progress, quiet)
    with held(Path(path), trust) as folder:
        return _extended(folder, data, benchmark, view, plugins)


def _extended(
    folder: RunFolder, data: str | Path | None, benchmark: Benchmark | None, view: View, plugins: Sequence[Any]
) -> RunResult:
    path = folder.path
    folder.require_plugins(names_of(plugins))
    config, progress = relocated(folder), folder.progress
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
        longer = _next_of_benchmark(config, folder)
    else:
        longer = config
    experiment = Experiment(planned(located(longer), benchmark), folder, view, plugins)
    if len(experiment.benchmark.experiences) == progress["experiences_done"]:
        raise ConfigError(
            f"run folder {path}",
            found=f"its benchmark ends after {progress['experiences_done']} experiences",
            allowed="a longer stream or new data",
            remedy="Name new data with --data: a folder, a CSV file or a saved data set.",
        )
    experiment.restore(may_grow=True)
    experiment.begin()
    return experiment.run()


def _next_of_benchmark(config: RunConfig, folder: RunFolder) -> RunConfig:
    """The configuration with one more experience of its benchmark."""
    benchmark_plugin(config.benchmark)
    if config.extensions or config.benchmark.options.get("experiences") is None:
        raise ConfigError(
            f"run folder {folder.path}",
            found="its stream has no further experience",
            allowed="a run that was limited with --set benchmark.experiences=N, or new data",
            remedy="Name new data with --data: a folder, a CSV file or a saved data set.",
        )
    options = {**config.benchmark.options, "experiences": config.benchmark.options["experiences"] + 1}
    return replace(config, benchmark=PluginConfig(config.benchmark.name, options))


def _extension_was_interrupted(experiment: Experiment, configured: bool) -> bool:
    """Whether the configuration names an experience that the identity does not know yet, because of a kill between."""
    progress, recorded = experiment.folder.progress, experiment.recorded
    if progress is None or recorded is None or progress["experiences_done"] < len(recorded.experiences):
        return False
    return configured or len(experiment.config.extensions) > len(recorded.surroundings[EXTENSIONS])


def _in_memory(stream: Benchmark) -> PluginConfig:
    """What is known of a stream made in Python: its name, and what its columns hold, to ask its model about more."""
    declared = stream.read.columns
    return PluginConfig(f"{IN_MEMORY}{stream.name}", {"columns": dict(declared)} if declared else {})


def _as_config(group: str, plugin: Any) -> PluginConfig:
    if isinstance(plugin, str):
        return parse_of(group, plugin)
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
            changed[option.name] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return PluginConfig(name, changed)
