"""What learns without a step needs neither an optimiser nor a gradient; elsewhere nothing to train is a mistake."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from mmcl.data.label_space import LabelSpace
from mmcl.errors import ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.competition import Competition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import CIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


@dataclass(kw_only=True, eq=False)
class Counts(StrategyPlugin):
    """Passes over the samples of an experience when it ends."""

    closed_form: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.samples: list[int] = []
        self.steps = 0

    def after_update(self, learner: Learner, **_: object) -> None:
        self.steps += 1

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.samples.append(sum(len(batch.targets) for batch in learner.one_pass(learner.current.samples)))


def test_an_experience_has_no_steps_where_nothing_is_left_to_train() -> None:
    benchmark, strategy = toy_benchmark(CIL, 2), Counts()
    learner = toy_learner(benchmark, {"counts": strategy}, freeze=("*",))
    before = weights(learner)
    for experience in benchmark.train:
        learner.train(experience)
    assert strategy.steps == 0
    assert strategy.samples == [len(experience.samples) for experience in benchmark.train]
    assert all(torch.equal(value, before[name]) for name, value in weights(learner).items())
    learner.evaluate(benchmark.test[0], Accuracy())


def test_it_has_steps_where_something_is_trained_beside() -> None:
    benchmark, strategy = toy_benchmark(CIL, 2), Counts()
    learner = toy_learner(benchmark, {"counts": strategy}, iterations=3)
    learner.train(benchmark.train[0])
    assert strategy.steps == 3


def test_without_such_a_strategy_nothing_to_train_is_refused() -> None:
    learner = toy_learner(toy_benchmark(CIL, 2), freeze=("*",))
    with pytest.raises(ConfigError, match="freeze every parameter"):
        learner.train(toy_benchmark(CIL, 2).train[0])


def test_all_classes_of_the_stream_compete_where_the_scenario_says_so() -> None:
    benchmark = toy_benchmark(CIL, 3)
    scenario = Scenario("X-TAIL", task_id_known_at_test=False, label_space_at_test="all", modalities_change=False)
    competition = Competition(scenario, torch.device("cpu"), benchmark.label_space)
    competition.meet(benchmark.train[0])
    for experience in benchmark.test:
        assert competition.at_test(experience) == benchmark.label_space
    assert competition.in_batch(torch.tensor([0]), own=False)[0].ids == benchmark.train[0].label_space.for_training.ids
    assert len(LabelSpace.joined([benchmark.label_space])) == 6
