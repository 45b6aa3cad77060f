"""The card of merge: what an experience begins from, what is handed over, and what is kept."""

from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.merge import Merge
from torch import Tensor

from mmcl.data.nested import nbytes
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

Weights = dict[str, Tensor]


class Ends(StrategyPlugin):
    """Notes the weights before the first step and after the last one of each experience."""

    def __init__(self) -> None:
        self.begun: list[Weights] = []
        self.trained: list[Weights] = []

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        self.begun.append(weights(learner))

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.trained.append(weights(learner))


class Run:
    """Two or more experiences; ``handed`` has the initial weights first."""

    def __init__(self, strategy: Merge, experiences: int = 3, **training: Any) -> None:
        self.ends, self.strategy = Ends(), strategy
        benchmark = toy_benchmark(CIL, experiences)
        self.learner = toy_learner(benchmark, {"merge": strategy, "ends": self.ends}, **{"lr": 1e-2, **training})
        self.handed = [weights(self.learner)]
        for experience in benchmark.train:
            self.learner.train(experience)
            self.handed.append(weights(self.learner))


def vector(run: Run, index: int, name: str) -> Tensor:
    return run.ends.trained[index][name] - run.handed[0][name]


@pytest.mark.parametrize("start", ["trained", "initial", "merged"])
def test_an_experience_begins_from_the_weights_that_start_names(start: Any) -> None:
    run = Run(Merge(start=start))
    for index in (1, 2):
        before, initial, handed = run.ends.trained[index - 1], run.handed[0], run.handed[index]
        expected = {"trained": before, "initial": initial, "merged": handed}[start]
        assert all(torch.equal(value, expected[name]) for name, value in run.ends.begun[index].items())
        moved = [name for name, value in run.ends.trained[index].items() if not torch.equal(value, expected[name])]
        assert moved


def test_magmax_hands_over_half_of_what_is_farthest_from_the_initial_weights() -> None:
    run = Run(Merge())
    for name, initial in run.handed[0].items():
        found = torch.stack([vector(run, index, name) for index in range(3)])
        expected = initial + 0.5 * found.gather(0, found.abs().argmax(0, keepdim=True))[0]
        torch.testing.assert_close(run.handed[3][name], expected)


def test_task_arithmetic_hands_over_the_mean_of_the_fine_tuned_weights() -> None:
    run = Run(Merge(method="task_arithmetic", start="initial"))
    for count in (1, 2, 3):
        for name, value in run.handed[count].items():
            mean = torch.stack([trained[name] for trained in run.ends.trained[:count]]).mean(0)
            torch.testing.assert_close(value, mean)


def test_a_scale_multiplies_what_is_added_to_the_initial_weights() -> None:
    once, twice = (Run(Merge(method="ties", start="initial", scale=scale), 2) for scale in (0.4, 0.8))
    moved = 0
    for name, initial in once.handed[0].items():
        torch.testing.assert_close(twice.handed[2][name] - initial, 2 * (once.handed[2][name] - initial))
        moved += int((once.handed[2][name] != initial).sum())
    assert moved


def test_ties_moves_no_more_entries_than_its_density_leaves() -> None:
    run = Run(Merge(method="ties", density=0.1), 1)
    moved = sum(int((run.handed[1][name] != value).sum()) for name, value in run.handed[0].items())
    entries = sum(value.numel() for name, value in run.handed[0].items() if "logit_scale" not in name)
    assert 0.09 * entries < moved <= 0.1 * entries


def test_one_experience_under_task_arithmetic_is_fine_tuning() -> None:
    run = Run(Merge(method="task_arithmetic"), 1)
    for name, value in run.handed[1].items():
        torch.testing.assert_close(value, run.ends.trained[0][name])


def test_frozen_weights_stay_bit_for_bit_and_have_no_vector() -> None:
    run = Run(Merge(start="initial"), 2, freeze=("backbone.clip.visual*",), weight_decay=0.1)
    frozen = [name for name in run.handed[0] if name.startswith("backbone.clip.visual")]
    assert frozen
    assert all(torch.equal(run.handed[2][name], run.handed[0][name]) for name in frozen)
    assert not set(run.strategy.state.kept["farthest"]) & set(frozen)


@pytest.mark.parametrize(("start", "models"), [("trained", 2), ("initial", 1), ("merged", 1)])
def test_what_is_kept_is_as_large_after_every_experience(start: Any, models: int) -> None:
    strategy = Merge(start=start)
    benchmark = toy_benchmark(CIL, 3)
    learner = toy_learner(benchmark, {"merge": strategy}, iterations=1)
    shared = sum(parameter.nbytes for _, parameter in learner.model.shared_parameters())
    for experience in benchmark.train:
        learner.train(experience)
        assert nbytes([strategy.state.kept, strategy.state.trained]) == models * shared


@pytest.mark.parametrize(("option", "value"), [("density", 0.0), ("density", 1.5), ("scale", 0.0), ("scale", -1.0)])
def test_numbers_that_make_no_sense_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"merge.{option}"):
        Merge(**{option: value})
