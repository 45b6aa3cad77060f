"""Trial: a strategy learns a toy stream, and what came out is kept for all checks that ask for it."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch
from mmcl.data.seeding import kept_generators, seed_generators
from mmcl.evaluation.metric import Metric
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience
from mmcl.testing.check import NotApplicable, Subject
from mmcl.testing.laboratory.nested import copied
from mmcl.testing.laboratory.setting import CLASS_SETTING, IMAGE_TOWER, Setting, composing

NAME = "strategy"  # of the strategy in the composition


class Answers(Metric):
    """Keeps the scores of every test sample, or its features where there are no classes."""

    name = "answers"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the answers of the last test set."""
        self.scores: list[Tensor] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Keep those of a batch, the classes in the order of their ids."""
        scores = output.logits
        if scores is None:
            scores = torch.cat(list(output.features.values()), dim=1)
        else:
            scores = scores[:, sorted(range(len(label_space)), key=label_space.ids.__getitem__)]
        self.scores.append(scores.detach().cpu().clone())

    def compute(self) -> float:
        """How many samples were answered."""
        return float(sum(map(len, self.scores)))


@dataclass(frozen=True)
class Snapshot:
    """What there is after an experience, in copies.

    Attributes:
        weights: parameters and buffers.
        state: of the strategy.
        answers: scores on the test set of each experience met so far.
    """

    weights: dict[str, Tensor]
    state: dict[str, Any]
    answers: list[list[Tensor]]


@dataclass
class Trial:
    """A stream that has been learned.

    Attributes:
        strategy: the object that learned.
        start: before the first experience.
        after: one after each experience.
        error: what was raised, if something was.
    """

    setting: Setting
    strategy: StrategyPlugin
    benchmark: Benchmark
    learner: Learner | None = None
    start: Snapshot | None = None
    after: list[Snapshot] = field(default_factory=list)
    error: Exception | None = None

    @property
    def end(self) -> Snapshot:
        """After the last experience."""
        return self.after[-1]


def answers(learner: Learner, experiences: Sequence[Experience]) -> list[list[Tensor]]:
    """Scores of the test sets of some experiences."""
    found = []
    for experience in experiences:
        metric = Answers()
        learner.evaluate(experience, metric)
        found.append(metric.scores)
    return found


def snapshot(learner: Learner, strategy: StrategyPlugin, tests: Sequence[Experience] = ()) -> Snapshot:
    """Copies of everything that should survive."""
    scores = answers(learner, tests)
    return Snapshot(copied(model_tensors(learner.model, ())), copied(strategy.state_dict()), scores)


def learn(
    setting: Setting,
    strategy: StrategyPlugin,
    *,
    benchmark: Benchmark | None = None,
    experiences: int | None = None,
    evaluate: bool = True,
    **training: Any,
) -> Trial:
    """Let a strategy learn a stream on its own.

    Args:
        setting: where.
        strategy: fresh.
        benchmark: the stream, if it is not the setting's.
        experiences: how many to learn; all by default.
        evaluate: whether to evaluate what has been met after each experience.
        **training: settings.

    Raises:
        Whatever the strategy raises.
    """
    benchmark = benchmark or setting.benchmark()
    trial = Trial(setting, strategy, benchmark)
    trial.learner = learner = setting.learner(benchmark, {NAME: strategy}, **training)
    trial.start = snapshot(learner, strategy)
    for index, experience in enumerate(benchmark.train[:experiences]):
        learner.train(experience)
        trial.after.append(snapshot(learner, strategy, benchmark.test[: index + 1] if evaluate else ()))
    return trial


def alone(subject: Subject, setting: Setting) -> Trial:
    """The strategy alone on a setting; computed once, whatever comes out."""

    def run() -> Trial:
        strategy = subject.fresh()
        try:
            return learn(setting, strategy)
        except Exception as error:  # noqa: BLE001  the check 'trains' raises it
            return Trial(setting, strategy, setting.benchmark(), error=error)

    return subject.once(("alone", setting), run)


def composed(subject: Subject) -> list[Setting]:
    """The settings with a CLIP that the strategy composes with.

    Raises:
        NotApplicable: if there is none.
    """
    found = composing(subject.plugin, subject.name)
    if not found:
        raise NotApplicable(f"it composes with no toy stream: {CLASS_SETTING.refusal(subject.plugin, subject.name)}")
    return found


def learned(subject: Subject, *, image_tower: bool = True) -> Iterator[Trial]:
    """The trials that went well; those that did not are the business of the checks 'trains' and 'undeclared needs'.

    Raises:
        NotApplicable: if there is none.
    """
    settings = composed(subject)
    if image_tower and not IMAGE_TOWER.refusal(subject.plugin, subject.name):
        settings.append(IMAGE_TOWER)
    trials = [trial for trial in (alone(subject, setting) for setting in settings) if trial.error is None]
    if not trials:
        raise NotApplicable("it does not train (see the check 'trains')")
    yield from trials


@contextmanager
def disturbed(seed: int) -> Iterator[None]:
    """Other states of the global generators of Python, NumPy and torch, while the context lasts."""
    with kept_generators():
        seed_generators(seed)
        yield


def global_generators() -> dict[str, int]:
    """A digest of the state of each global generator, by library."""
    return {
        "torch": hash(torch.get_rng_state().numpy().tobytes()),
        "NumPy": hash(str(np.random.get_state())),  # noqa: NPY002
        "Python's random": hash(random.getstate()),
    }
