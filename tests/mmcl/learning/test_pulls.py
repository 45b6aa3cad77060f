"""Pulls: a penalty that pulls harder than the loss is remarked on, and nothing else is."""

import pytest
import torch
from mmcl_strategies.regularization.ewc import EWC
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.learning.learner import Learner
from mmcl.learning.pulls import EVERY, Pulls
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.remarks import Remark, Remarks
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


class Tug(StrategyPlugin):
    """Adds a multiple of the gradient that is there to it."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def gradient_terms(self, learner: Learner) -> GradientValues:
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(1 + self.factor)
        return {"tug": lambda: torch.zeros(())}


def told(strategies: dict[str, StrategyPlugin], iterations: int = 2 * EVERY, experiences: int = 1) -> list[str]:
    benchmark = toy_benchmark(TIL, experiences)
    learner = toy_learner(benchmark, strategies, iterations=iterations)
    for experience in benchmark.train:
        learner.train(experience)
    return list(learner.remarks)


def test_the_ratio_is_that_of_the_lengths_of_gradients() -> None:
    free, late = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    pulls = Pulls()
    for step in range(1, 3 * EVERY + 1):
        free.grad, late.grad = torch.tensor([3.0, 4.0]), None
        look = pulls.look([free, late])
        assert (look is not None) is (step % EVERY == 0)
        if look is not None:
            look.begin()
            free.grad.add_(torch.tensor([9.0, 0.0]))
            late.grad = torch.tensor([12.0])
            look.note("strong")
            look.begin()
            free.grad.add_(torch.tensor([0.0, 50.0 if step == EVERY else 9.9]))
            look.note("weak")
    assert pulls.dominant() == {"strong": pytest.approx(3.0)}


def test_a_strategy_that_pulls_harder_than_the_loss_is_named_with_the_ratio_and_what_to_do() -> None:
    with pytest.warns(Remark):
        (sentence,) = told({"weak": Tug(0.3), "strong": Tug(-5.0)})
    assert "'toy0': strong/tug pulled at the weights 6.5 times as hard" in sentence  # 5 times the 1.3 it has met
    assert "Lower the strength of 'strong'" in sentence
    assert "docs/strengths.md" in sentence


def test_nothing_is_said_of_a_weaker_one_and_in_a_short_experience() -> None:
    assert told({"weak": Tug(1.9)}) == []
    assert told({"strong": Tug(5.0)}, iterations=EVERY - 1) == []


def test_it_is_said_once_in_an_experience_and_of_each_that_it_holds_for() -> None:
    sentences = told({"strong": Tug(3.0)}, experiences=3)
    assert [sentence.partition(":")[0] for sentence in sentences] == [f"Experience 'toy{t}'" for t in range(3)]


def test_a_penalty_that_is_too_strong_is_found_and_a_soft_one_is_not() -> None:
    soft = told({"ewc": EWC(strength=1.0)}, experiences=2)
    stiff = told({"ewc": EWC(strength=1e9)}, experiences=2)
    assert soft == []
    assert len(stiff) == 1
    assert "'toy1': ewc/penalty pulled" in stiff[0]


def test_looking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    for every in (1, 10**9):
        monkeypatch.setattr("mmcl.learning.pulls.EVERY", every)
        benchmark = toy_benchmark(TIL, 2)
        learner = toy_learner(benchmark, {"ewc": EWC(strength=10.0)}, iterations=8)
        for experience in benchmark.train:
            learner.train(experience)
        trained.append(weights(learner))
    assert all(torch.equal(trained[1][name], value) for name, value in trained[0].items())


def test_a_learner_adds_to_the_remarks_that_it_was_given() -> None:
    remarks, benchmark = Remarks(), toy_benchmark(TIL, 1)
    learner = Learner(
        model=MultimodalModel(tiny_clip()),
        scenario=TIL,
        strategies={"strong": Tug(3.0)},
        defaults=benchmark.training,
        training={"iterations": EVERY},
        remarks=remarks,
    )
    learner.train(benchmark.train[0])
    assert len(remarks) == 1
