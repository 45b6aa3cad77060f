"""Experiment: the parts of a run, and the loop over its experiences. Read this first."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmcl.build import Plan
from mmcl.config import resolve_training
from mmcl.data.asked import AnswerKind
from mmcl.data.readable import check_readable
from mmcl.data.targets import check_targets
from mmcl.environment import environment
from mmcl.errors import ConfigError
from mmcl.evaluation.answers import AnswerTable, answers_of
from mmcl.evaluation.loggers import RunLogger, make_loggers
from mmcl.evaluation.report import markdown_report
from mmcl.evaluation.result_matrix import BEFORE_TRAINING
from mmcl.evaluation.scores import Scores
from mmcl.evaluation.ways import how_found
from mmcl.foresight import foreseen
from mmcl.history import History, Watch
from mmcl.identity import identity_of, recorded_identity
from mmcl.learning.learner import Learner
from mmcl.learning.optimizer import trainable
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.digest import weights_digest
from mmcl.models.multimodal import MultimodalModel
from mmcl.parameters import ParameterReport, count
from mmcl.probe import Probe
from mmcl.progress import LogTerms, View
from mmcl.remarks import Remarks
from mmcl.results import RunResult
from mmcl.run_folder import RunFolder
from mmcl.sameness import remark_on, require_same
from mmcl.views import Silent


class Experiment:
    """Everything a run consists of, built from its configuration.

    Args:
        plan: what to run.
        folder: where it is kept.
        view: what shows the run; by default nothing does.
        plugins: avalanche plugins, called after the strategies.

    Attributes:
        model: what the backbone says of itself before training, with a digest of its weights.
        identity: what the run is now.
        recorded: what it was begun with, if it has begun.
        remarks: what the run was told and went on with; those said before an interruption are not said again.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        view: View | None = None,
        plugins: Sequence[Any] = (),
    ) -> None:
        self.config = config = plan.config
        self.folder = folder
        self.plugin_names = names_of(plugins)
        self.remarks = Remarks((folder.progress or {}).get("remarks", ()))
        self.seconds: dict[str, float] = {}
        self.recorded = recorded_identity(folder)
        self.strategies = plan.strategies
        with self._timed("benchmark"):
            self.benchmark = plan.read(self.recorded.experiences if self.recorded else ())
        self.remarks.keep(self.benchmark.remarks)
        self.training = resolve_training(self.benchmark.training, config.training)
        if unread := sorted(self.benchmark.objective.unread & config.training.keys()):
            raise ConfigError(
                f"training.{unread[0]}",
                found=f"it has no effect: the objective of {self.benchmark.name!r} is {self.benchmark.objective}",
                allowed="settings of classes for benchmarks that have classes",
                remedy="Leave it out.",
            )
        own = {name: strategy.reference_data() for name, strategy in self.strategies.items()}
        references = {name: data for name, data in {"benchmark": self.benchmark.reference, **own}.items() if data}
        if self.training.check_data:
            with self._timed("data check"):
                sides = [experience.samples for experience in (*self.benchmark.train, *self.benchmark.test)]
                self._check_targets()
                check_readable([*sides, *(data.images for data in references.values())])
        self.probe = Probe(config.probe, self.benchmark, folder) if config.probe else None
        self.metric = self.benchmark.metric
        self.view = view or Silent()
        self.history = History(folder)
        self._history: str | None = None  # digest of what the checkpoint knows of it
        self.loggers: list[RunLogger] = []
        settings = [
            resolve_training(self.benchmark.training, data.training, config.training)
            for data in self.benchmark.experiences
        ]
        steps = [
            setting.steps(len(data.train)) for setting, data in zip(settings, self.benchmark.experiences, strict=True)
        ]
        observers = [Watch(self.history, self.view, steps), *([LogTerms(self.loggers)] if config.log else [])]
        with self._timed("backbone"):
            backbone = plan.backbone.build()
            self.model = {**backbone.description, "digest": weights_digest(backbone)}
            self.parameters = ParameterReport(backbone, (folder.progress or {}).get("parameters", ()))
            for sentence in backbone.remarks:
                self.remarks.add(sentence)
            self.learner = Learner(
                model=MultimodalModel(backbone),
                scenario=self.benchmark.scenario,
                strategies=self.strategies,
                plugins=[*plugins, *observers],
                training=config.training,
                defaults=self.benchmark.training,
                reference=self.benchmark.reference,
                objective=self.benchmark.objective,
                remarks=self.remarks,
                every_class=self.benchmark.label_space,
                seed=config.seed,
            )
            self.training = self.learner.config
        with self._timed("identity"):
            self.identity = identity_of(
                config,
                self.benchmark,
                plan.backbone,
                self.strategies,
                references,
                self.model["digest"],
                self.learner.device,
                backbone.training_defaults,
            )
        for sentence in foreseen(self.benchmark, settings, self.learner.model):
            self.remarks.add(sentence)
        self.done = 0
        columns = [experience.name for experience in self.benchmark.test]
        self.scores = Scores(columns, self.metric.name, paired=self.benchmark.common_test is None)

    def run(self) -> RunResult:
        """Learn what has not been learned yet."""
        rows_done = [] if self.folder.progress is None else self.scores.rows
        self.loggers += make_loggers(self.config.log, self.folder.path, self.config.to_dict(), rows_done)
        self.history.cut(self.done)
        if self._history not in (None, self.history.digest()):
            self.remarks.add(
                "history.jsonl was lost or damaged: lines of experiences that had been learned are others."
            )
        try:
            with self.view.shown():
                self._learn()
        finally:
            self.history.write()
            for logger in self.loggers:
                logger.close()
        return self._end()

    def _learn(self) -> None:
        if self.folder.progress is None:
            self._evaluate(BEFORE_TRAINING)
            self._save()
        for experience in list(self.benchmark.train)[self.done :]:
            with self._timed(f"training {experience.name}"):
                self.learner.train(experience, self.benchmark.test[: self.done + 1])
            self._evaluate(experience.name)
            self.done += 1
            self._save(experience.name)

    def _end(self) -> RunResult:
        self.folder.write_json("results.json", self.results())
        disorder = "" if self.probe is None else "\n" + self.probe.report()
        self.folder.write_text("report.md", markdown_report(self.folder.results) + disorder)
        result = RunResult(self.folder.path, self.folder.results)
        result.plot(self.folder.path / "matrix.png")
        return result

    def results(self) -> dict[str, Any]:
        """The content of ``results.json``: what was run, with which scores, at which cost."""
        return {
            "benchmark": self.benchmark.name,
            "edition": self.benchmark.edition,
            "scenario": self.benchmark.scenario.name,
            "backbone": self.config.backbone.label,
            "model": self.model,
            "strategies": [{"name": s.name, **s.options} for s in self.config.strategies],
            "plugins": self.plugin_names,
            "seed": self.config.seed,
            "unit": self.metric.unit,
            **self.scores.summarised([len(experience.samples) for experience in self.benchmark.test]),
            "ways": how_found(self.learner.model.router, self.benchmark.scenario.task_id_known_at_test),
            "parameters": {
                "total": count(self.learner.model.parameters()),
                "trainable": count(trainable(self.learner.model)),
                "per_experience": self.parameters.rows,
            },
            "training": self.training.to_dict(),
            "metadata": self.benchmark.metadata,
            "data": self.identity.data,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "versions": environment()["packages"],
            "remarks": list(self.remarks),
        }

    def begin(self) -> None:
        """Write down what the run is; from now on it can be resumed."""
        self.folder.begin(self.config, self.plugin_names, self.identity.to_dict())

    def restore(self, may_grow: bool = False) -> None:
        """Continue from the checkpoint in the folder.

        Args:
            may_grow: whether the stream may have experiences that the run has not recorded.

        Raises:
            CheckpointError: if this is not what the run was begun with.
        """
        if self.recorded is not None:
            require_same(self.recorded, self.identity, f"run folder {self.folder.path}", may_grow)
            if sentence := remark_on(self.recorded, self.identity):
                self.remarks.add(sentence)
        progress = self.folder.progress
        if progress is None:
            return
        self.scores.go_on(progress)
        self.done, self.seconds = progress["experiences_done"], progress["seconds"]
        self._history = progress.get("history")
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
        chance: dict[str, float] = {}
        further: dict[str, dict[str, float]] = {}
        answers = AnswerTable()
        self.metric.begin_round()
        phase = f"evaluation after {row}" if row != BEFORE_TRAINING else f"evaluation {row}"
        with (
            self._timed(phase),
            self.learner.evaluating(),
            self.view.phase(phase, len(self.benchmark.test)) as advance,
        ):
            for experience in self.benchmark.test:
                if self.learner.model.head.knows(experience.label_space):
                    scores[experience.name] = self.learner.evaluate(experience, self.metric)
                    chance[experience.name] = self.metric.chance()
                    answers.add(experience.name, self.metric.answers())
                    for name, score in {**self.metric.further(), **self.learner.ways.shares()}.items():
                        further.setdefault(name, {})[experience.name] = score
                advance(experience.name)
        self.scores.put(row, self.done, scores, chance, further)
        for logger in self.loggers:
            for column, score in scores.items():
                logger.cell(row, column, score)
        if not answers.empty:
            # before the checkpoint: a run that goes on from the one before writes the same file again
            experiences = 0 if row == BEFORE_TRAINING else self.done + 1
            self.folder.write_bytes(answers_of(experiences), answers.packed())
        self.view.row(row, scores)

    def _save(self, learned: str | None = None) -> None:
        """A checkpoint: before training, or after an experience of this name has been learned."""
        if self.probe is not None:
            with self._timed("probe"):
                self.probe.record(self.learner, self.done, self.scores.rows[-1])
        label_spaces = {
            str(e.index): {"name": e.name, "classes": e.label_space.to_list(), "modalities": sorted(e.modalities)}
            for e in self.learner.seen
        }
        clock = {name: value for name, value in vars(self.learner.clock).items() if isinstance(value, int)}
        states = {name: strategy.state_dict() for name, strategy in self.strategies.items()}
        if learned is not None:
            self.parameters.add(learned, self.learner, states)
        progress = {
            "experiences": len(self.benchmark.experiences),
            "experiences_done": self.done,
            **self.scores.to_dict(),
            "met": [experience.index for experience in self.learner.seen],
            "label_spaces": label_spaces,
            "clock": clock,
            "history": self.history.digest(),
            "seconds": self.seconds,
            "parameters": self.parameters.rows,
            "remarks": list(self.remarks),
        }
        self.folder.save(progress, model_tensors(self.learner.model, self.learner.untouched), states)
        self.folder.write_json("results.json", self.results())

    def _check_targets(self) -> None:
        if self.benchmark.objective.answers is not AnswerKind.CLASS:
            return
        for side, experiences in (("training", self.benchmark.train), ("test", self.benchmark.test)):
            for experience in experiences:
                who = f"{side} samples of {experience.name!r}"
                check_targets(experience.samples, experience.label_space, who)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began


def names_of(plugins: Sequence[Any]) -> list[str]:
    """The classes of plugins, as a run folder records them."""
    return [f"{type(plugin).__module__}:{type(plugin).__qualname__}" for plugin in plugins]
