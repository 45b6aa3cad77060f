"""The optimiser: exactly what is trainable, at the rate each strategy wants for its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.optimizer import LearningRate, freeze, make_optimizer
from mmcl.learning.strategy import StrategyPlugin
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


@dataclass(kw_only=True, eq=False)
class Faster(StrategyPlugin):
    """Gives the positions of the image tower a rate of their own."""

    rate: float

    def rates(self, learner: Learner) -> Iterator[tuple[nn.Parameter, float]]:
        for name, parameter in learner.model.named_parameters():
            if name.endswith("visual.positional_embedding"):
                yield parameter, self.rate


def trained(strategy: StrategyPlugin | None = None, **training: Any) -> Learner:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {} if strategy is None else {"it": strategy}, **training)
    learner.train(benchmark.train[0])
    return learner


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_parameter_follows_the_rate_that_its_strategy_wants_and_the_others_that_of_the_settings(
    optimizer: Any,
) -> None:
    start = weights(toy_learner(toy_benchmark()))
    plain, faster = (
        trained(optimizer=optimizer, iterations=1, warmup=0),
        trained(Faster(rate=3e-3), optimizer=optimizer, iterations=1, warmup=0),
    )
    for name, value in weights(plain).items():
        moved, other = value - start[name], weights(faster)[name] - start[name]
        factor = 3.0 if name.endswith("visual.positional_embedding") else 1.0
        torch.testing.assert_close(other, factor * moved, rtol=1e-3, atol=1e-6)


def test_a_rate_equal_to_that_of_the_settings_changes_nothing() -> None:
    plain, same = weights(trained()), weights(trained(Faster(rate=1e-3), lr=1e-3))
    assert all(torch.equal(value, same[name]) for name, value in plain.items())


def test_the_schedule_applies_to_every_rate() -> None:
    training = TrainingConfig(lr=1.0, warmup=2, optimizer="sgd")
    model = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    optimizer = make_optimizer(model, training, [(parameter, 10.0) for parameter in model[1].parameters()])
    schedule, seen = LearningRate(optimizer, training, 6), []
    for step in range(6):
        schedule.set(step)
        seen.append([group["lr"] for group in optimizer.param_groups])
    assert [slow for slow, _ in seen[:2]] == [0.5, 1.0]
    assert seen[-1] == [0.0, 0.0]
    for slow, fast in seen:
        assert fast == pytest.approx(10 * slow)


class Rates(StrategyPlugin):
    """Notes the rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.seen.append(learner.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ({"epochs": 2}, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]),
        ({"iterations": 5}, [1.0, 1.0, 1.0, 1.0, 0.5]),
        ({"iterations": 2}, [1.0, 1.0]),
    ],
)
def test_a_cosine_by_epochs_moves_when_all_samples_have_been_seen(
    length: dict[str, int], expected: list[float]
) -> None:
    noted = Rates()
    benchmark = toy_benchmark(experiences=1)  # 16 samples
    settings: dict[str, Any] = {"schedule": "cosine_by_epoch", "batch_size": 4, "warmup": 0, "lr": 1.0}
    toy_learner(benchmark, {"noted": noted}, **settings, **length).train(benchmark.train[0])
    assert noted.seen == pytest.approx(expected)


def test_a_cosine_may_end_at_a_share_of_the_rate_to_which_the_warm_up_still_rises_from_below() -> None:
    noted = Rates()
    benchmark = toy_benchmark(experiences=1)
    settings: dict[str, Any] = {"schedule": "cosine", "lr_end": 0.2, "iterations": 4, "warmup": 1, "lr": 1.0}
    toy_learner(benchmark, {"noted": noted}, **settings).train(benchmark.train[0])
    assert noted.seen == pytest.approx([1.0, 1.0, 0.6, 0.2])
    noted.seen.clear()
    toy_learner(benchmark, {"noted": noted}, **settings | {"warmup": 2}).train(benchmark.train[0])
    assert noted.seen == pytest.approx([0.5, 1.0, 1.0, 0.2])


def test_a_constant_rate_falls_to_a_tenth_after_every_milestone() -> None:
    noted = Rates()
    benchmark = toy_benchmark(experiences=1)  # 16 samples
    settings: dict[str, Any] = {"schedule": "constant", "milestones": (1, 3), "batch_size": 8, "warmup": 0, "lr": 1.0}
    toy_learner(benchmark, {"noted": noted}, **settings, epochs=4).train(benchmark.train[0])
    assert noted.seen == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_rate_for_a_frozen_parameter_thaws_nothing() -> None:
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    optimizer = make_optimizer(model, TrainingConfig(), [(model.bias, 1.0)])
    assert [group["params"] for group in optimizer.param_groups] == [[model.weight]]


def test_a_model_with_nothing_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.freeze"):
        make_optimizer(nn.Linear(1, 1).requires_grad_(False), TrainingConfig())


def test_a_pattern_that_freezes_nothing_is_refused_with_names_that_are_near() -> None:
    model = nn.ModuleDict({"visual": nn.Linear(1, 1)})
    with pytest.raises(ConfigError, match=r"'\*vizual\*' matches no parameter.*'visual'.*'visual.weight'"):
        freeze(model, ["*vizual*"])
    freeze(model, ["*logit_scale", "*visual*"], usual=["*logit_scale"])
    assert not any(parameter.requires_grad for parameter in model.parameters())
