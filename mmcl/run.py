"""Run an experiment: build the parts, learn one experience after the other, evaluate, save. Read this first.

    result = mmcl.run(benchmark=mmcl.benchmark("mtil", embedded=True), backbone="glyph-clip", strategies=["zscl"])

A run is a small configuration and a folder. ``resume`` continues a run that was interrupted, ``extend`` adds an
experience to one that has ended; both give the numbers that an uninterrupted run would have given.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmcl.arguments import default_backbone, parse_backbone, parse_strategy
from mmcl.build import (
    build_benchmark,
    build_plugin,
    build_strategies,
    check_before_loading,
    extended,
    surroundings,
)
from mmcl.config import PluginConfig, RunConfig, resolve_training
from mmcl.data.readable import check_readable
from mmcl.environment import environment
from mmcl.errors import CheckpointError, ConfigError
from mmcl.evaluation.loggers import RunLogger, make_loggers
from mmcl.evaluation.report import markdown_report, results_table
from mmcl.evaluation.result_matrix import BEFORE_TRAINING, ResultMatrix
from mmcl.learning.compose import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.objectives import OBJECTIVES
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.backbone import BackbonePlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.probe import Probe
from mmcl.progress import LogTerms, ProgressBar
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, kind_of, name_of
from mmcl.remarks import Remarks
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class RunResult:
    """A run that has ended.

    Attributes:
        folder: where everything is.
        results: the content of ``results.json``.
    """

    folder: Path
    results: dict[str, Any]

    @property
    def result_matrix(self) -> ResultMatrix:
        """The scores with their row and column names."""
        return ResultMatrix.from_dict(self.results)

    @property
    def matrix(self) -> Any:
        """``float64[1 + T, N]``; row 0 is before training, NaN is not evaluated."""
        return self.result_matrix.complete

    @property
    def summary(self) -> dict[str, float | None]:
        """The headline scores, such as ``transfer``, ``avg``, ``last`` and ``forgetting``."""
        return dict(self.results["summary"])

    def table(self) -> "Table":
        """What a paper prints, as a rich table."""
        return results_table(self.results)

    def plot(self, target: Any) -> None:
        """Draw the heat map on matplotlib axes or into an image file."""
        self.result_matrix.plot(target)


class Experiment:
    """Everything a run consists of, built from its configuration.

    Args:
        config: what to run.
        folder: where it is kept.
        benchmark: a benchmark that was built in Python; otherwise the one the configuration names is read.
        quiet: no progress bars.
        plugins: avalanche plugins, called after the strategies.

    Attributes:
        remarks: what the run was told and went on with; those said before an interruption are not said again.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        benchmark: Benchmark | None = None,
        quiet: bool = False,
        plugins: Sequence[Any] = (),
    ) -> None:
        self.config = config
        self.folder = folder
        self.plugin_names = names_of(plugins)
        self.remarks = Remarks((folder.progress or {}).get("remarks", ()))
        self.seconds: dict[str, float] = {}
        self.strategies = build_strategies(config)
        backbone_plugin = build_plugin(BACKBONES, config.backbone)
        assert isinstance(backbone_plugin, BackbonePlugin)
        with self._timed("benchmark"):
            self.benchmark = extended(benchmark or build_benchmark(config, self.strategies, backbone_plugin), config)
        around = surroundings(backbone_plugin, self.benchmark, self.benchmark.reference is not None)
        check_composition(list(self.strategies.values()), list(self.strategies), around)
        self.training = resolve_training(self.benchmark.training, config.training)
        if self.training.check_data:
            with self._timed("data check"):
                sides = [experience.samples for experience in (*self.benchmark.train, *self.benchmark.test)]
                check_readable(sides + ([self.benchmark.reference.images] if self.benchmark.reference else []))
        self.probe = Probe(config.probe, self.benchmark, folder) if config.probe else None
        self.metric = self.benchmark.metric
        self.bar = ProgressBar(quiet)
        self.loggers: list[RunLogger] = []
        observers = [self.bar, *([LogTerms(self.loggers)] if config.log else [])]
        with self._timed("backbone"):
            self.learner = Learner(
                model=MultimodalModel(backbone_plugin.build()),
                scenario=self.benchmark.scenario,
                strategies=self.strategies,
                plugins=[*plugins, *observers],
                training=config.training,
                defaults=self.benchmark.training,
                reference=self.benchmark.reference,
                objective=OBJECTIVES[self.benchmark.objective](),
                seed=config.seed,
            )
        self.done = 0
        self.matrix = self._empty_matrix(self.metric.name)
        self.further: dict[str, ResultMatrix] = {}

    def run(self) -> RunResult:
        """Learn what has not been learned yet."""
        rows_done = [] if self.folder.progress is None else [BEFORE_TRAINING, *self.matrix.rows]
        self.loggers += make_loggers(self.config.log, self.folder.path, self.config.to_dict(), rows_done)
        try:
            if self.folder.progress is None:
                self.folder.write_json("environment.json", environment())
                self._evaluate(BEFORE_TRAINING)
                self._save()
            for experience in list(self.benchmark.train)[self.done :]:
                with self._timed(f"training {experience.name}"):
                    self.learner.train(experience, self.benchmark.test[: self.done + 1])
                self._evaluate(experience.name)
                self.done += 1
                self._save()
        finally:
            for logger in self.loggers:
                logger.close()
        self.folder.write_json("results.json", self._results())
        disorder = "" if self.probe is None else "\n" + self.probe.report()
        self.folder.write_text("report.md", markdown_report(self.folder.results) + disorder)
        self.matrix.plot(self.folder.path / "matrix.png")
        return RunResult(self.folder.path, self.folder.results)

    def restore(self) -> None:
        """Continue from the checkpoint in the folder."""
        progress = self.folder.progress
        if progress is None:
            return
        self.matrix = self._continued(progress)
        self.further = {name: self._continued(stored) for name, stored in progress["further"].items()}
        self.done, self.seconds = progress["experiences_done"], progress["seconds"]
        for index in progress["met"]:
            self.learner.meet(self.benchmark.train[index])
        tensors, states = self.folder.load(list(self.strategies))
        self.learner.untouched = restore_model(self.learner.model, tensors)
        for name, strategy in self.strategies.items():
            strategy.load_state_dict(states[name], self.learner.device)
        for name, value in progress["clock"].items():
            setattr(self.learner.clock, name, value)

    def _evaluate(self, row: str) -> None:
        """One row: the scores on every test set whose classes the head can tell apart."""
        scores: dict[str, float] = {}
        further: dict[str, dict[str, float]] = {}
        self.metric.begin_round()
        phase = f"evaluation after {row}" if row != BEFORE_TRAINING else f"evaluation {row}"
        with self._timed(phase), self.bar.phase(phase, len(self.benchmark.test)) as advance:
            for experience in self.benchmark.test:
                if self.learner.model.head.knows(experience.label_space):
                    scores[experience.name] = self.learner.evaluate(experience, self.metric)
                    for name, score in self.metric.further().items():
                        further.setdefault(name, {})[experience.name] = score
                advance()
        self._write_row(self.matrix, row, scores)
        for name, values in further.items():
            self._write_row(self.further.setdefault(name, self._empty_matrix(name)), row, values)
        for logger in self.loggers:
            for column, score in scores.items():
                logger.cell(row, column, score)
        self.bar.show_row(row, scores)

    def _write_row(self, matrix: ResultMatrix, row: str, scores: dict[str, float]) -> None:
        if row == BEFORE_TRAINING:
            matrix.set_zero_shot(scores)
        else:
            matrix.set_row(self.done, scores, row)

    def _empty_matrix(self, metric: str) -> ResultMatrix:
        columns = [experience.name for experience in self.benchmark.test]
        return ResultMatrix(columns, metric=metric, paired=self.benchmark.common_test is None)

    def _continued(self, stored: Mapping[str, Any]) -> ResultMatrix:
        """A stored matrix, with columns for what has joined the stream since."""
        matrix = ResultMatrix.from_dict(stored)
        for name in self.matrix.columns[len(matrix.columns) :]:
            matrix.add_column(name)
        return matrix

    def _save(self) -> None:
        if self.probe is not None:
            with self._timed("probe"):
                self.probe.record(self.learner, self.done, [BEFORE_TRAINING, *self.matrix.rows][-1])
        label_spaces = {
            str(e.index): {"name": e.name, "classes": e.label_space.to_list(), "modalities": sorted(e.modalities)}
            for e in self.learner.seen
        }
        clock = {name: value for name, value in vars(self.learner.clock).items() if isinstance(value, int)}
        progress = {
            "experiences": len(self.benchmark.experiences),
            "experiences_done": self.done,
            **self.matrix.to_dict(),
            "further": {name: matrix.to_dict() for name, matrix in self.further.items()},
            "met": [experience.index for experience in self.learner.seen],
            "label_spaces": label_spaces,
            "clock": clock,
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }
        states = {name: strategy.state_dict() for name, strategy in self.strategies.items()}
        self.folder.save(progress, model_tensors(self.learner.model, self.learner.untouched), states)
        self.folder.write_json("results.json", self._results())

    def _results(self) -> dict[str, Any]:
        sizes = [len(experience.samples) for experience in self.benchmark.test]
        # without classes nobody can guess
        chance = [100.0 / max(len(data.label_space), 1) for data in self.benchmark.test]
        parameters = list(self.learner.model.parameters())
        return {
            "benchmark": self.benchmark.name,
            "edition": self.benchmark.edition,
            "scenario": self.benchmark.scenario.name,
            "backbone": self.config.backbone.label,
            "strategies": [{"name": s.name, **s.options} for s in self.config.strategies],
            "plugins": self.plugin_names,
            "seed": self.config.seed,
            "unit": self.metric.unit,
            **self.matrix.to_dict(),
            "summary": {
                name: None if value != value else value for name, value in self.matrix.summary(sizes, chance).items()
            },
            "further": {name: matrix.to_dict() for name, matrix in self.further.items()},
            "test_sizes": sizes,
            "parameters": {
                "total": sum(p.numel() for p in parameters),
                "trainable": sum(p.numel() for p in parameters if p.requires_grad),
                "per_experience": self.learner.sizes,
            },
            "training": self.training.to_dict(),
            "metadata": self.benchmark.metadata,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "versions": environment()["packages"],
            "remarks": list(self.remarks),
        }

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began


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


def names_of(plugins: Sequence[Any]) -> list[str]:
    """The classes of plugins, as a run folder records them."""
    return [f"{type(plugin).__module__}:{type(plugin).__qualname__}" for plugin in plugins]


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
