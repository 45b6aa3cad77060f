"""Record: a variant learns its stream on the towers, and what it looked at is kept."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.sites import ADDONS
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.toy import toy_learner

from .towers import BORDER, EVALUATION, STEP, Call, Calls, Towers
from .variants import Variant


@dataclass
class Step:
    """One training step.

    Attributes:
        experience: its index.
        batch: what was trained on.
        modes: whether each layer of the towers was in training mode before the forward pass.
        calls: of the towers.
    """

    experience: int
    batch: Batch
    modes: set[bool]
    calls: list[Call] = field(default_factory=list)


@dataclass
class Record:
    """What there was to see.

    Attributes:
        border, evaluation: calls outside of training steps.
        statistics: buffers of the towers at the last step of each experience and after it was handed over.
        begun: the same before and after everything that happens ahead of the first step.
    """

    variant: Variant
    benchmark: Benchmark
    learner: Learner
    strategy: Any
    steps: list[Step] = field(default_factory=list)
    border: list[Call] = field(default_factory=list)
    evaluation: list[Call] = field(default_factory=list)
    statistics: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = field(default_factory=list)
    begun: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = field(default_factory=list)


class Phases(StrategyPlugin):
    """Tells the towers what is going on; it is the first strategy, so that its hooks come before all others."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.steps = calls, list[Step]()
        self.untouched: list[dict[str, Tensor]] = []
        self.ready: list[dict[str, Tensor]] = []
        self.last: list[dict[str, Tensor]] = []

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        self.untouched.append(buffers(learner))

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        if learner.step == 0:
            self.ready.append(buffers(learner))
        self.calls.phase = STEP
        self.begin = len(self.calls)

    def before_forward(self, learner: Learner, **_: object) -> None:
        towers = learner.model.backbone.named_modules()
        modes = {module.training for name, module in towers if ADDONS not in name}
        self.steps.append(Step(learner.current.index, learner.batch, modes))

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        self.steps[-1].calls = self.calls[self.begin :]

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.calls.phase = BORDER
        self.last.append(buffers(learner))


def buffers(learner: Learner) -> dict[str, Tensor]:
    """Copies of the statistics of the towers, without what was attached to them."""
    named = learner.model.backbone.named_buffers()
    return {name: value.clone() for name, value in named if ADDONS not in name}


@cache
def recorded(variant: Variant) -> Record:
    """One training for all tests that look at it."""
    benchmark, strategy, towers = variant.benchmark(), variant.fresh(), Towers()
    phases = Phases(towers.calls)
    learner = toy_learner(benchmark, {"phases": phases, variant.name: strategy}, backbone=towers)
    record = Record(variant, benchmark, learner, strategy)
    for index, experience in enumerate(benchmark.train):
        learner.train(experience)
        if len(phases.last) > len(record.statistics):
            record.statistics.append((phases.last[-1], buffers(learner)))
        towers.calls.phase = EVALUATION
        if benchmark.objective.answers is AnswerKind.CLASS:
            learner.evaluate(benchmark.test[index], Accuracy())
        towers.calls.phase = BORDER
    record.steps = phases.steps
    record.begun = list(zip(phases.untouched, phases.ready, strict=False))
    record.border = [call for call in towers.calls if call.phase == BORDER]
    record.evaluation = [call for call in towers.calls if call.phase == EVALUATION]
    return record


def of_batch(call: Call, batch: Batch) -> bool:
    """Whether a call encoded what the batch shows of a modality, all of it."""
    value = batch.inputs[call.modality] if call.modality in (IMAGE, TEXT) and call.modality in batch.inputs else None
    return value is not None and value.shape == call.value.shape and torch.equal(value, call.value)
