"""EWC++: a running average of squared task gradients, in which no penalty and no other strategy's term appears."""

import pytest
import torch
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.maths.quadratic import moving_average
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.regularization.ewc_plus_plus import EWCPlusPlus
from torch import Tensor
from torch.nn import functional

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

Named = dict[str, Tensor]


class Witness(StrategyPlugin):
    """Squares the gradient of the task loss by a forward pass of its own, before anything is added to it."""

    def __init__(self) -> None:
        self.squares: list[Named] = []

    def after_forward(self, learner: Learner, **_: object) -> None:
        parameters = dict(learner.model.shared_parameters())
        logits = learner.model(learner.batch.inputs).logits
        loss = functional.cross_entropy(logits, learner.label_space.columns(learner.batch.targets))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        self.squares.append({name: g.square() for name, g in zip(parameters, gradients, strict=True)})


def recursion(squares: list[Named], alpha: float) -> Named:
    running = squares[0]
    for new in squares[1:]:
        running = {name: alpha * value + (1 - alpha) * running[name] for name, value in new.items()}
    return running


def assert_close(found: Named, expected: Named) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-10)


COMPOSITIONS: dict[str, dict[str, StrategyPlugin]] = {
    "alone": {},
    "another penalty": {"ewc": EWC(strength=1e4)},
    "another loss term": {"lwf": LwF(strength=50.0)},
    "both": {"zscl": ZSCL(image_weight=10.0, consolidation=5.0)},
}


@pytest.mark.parametrize("others", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_the_running_fisher_is_of_the_task_loss_alone(others: dict[str, StrategyPlugin]) -> None:
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(every=1, strength=1e5, alpha=0.3), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy, **others})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert_close(strategy.state.running, recursion(witness.squares, 0.3))
    others_entered = [name for name in learner.loss_terms if name != "task"] + list(learner.gradient_values)
    assert len(others_entered) > len(others), "there is something that might have entered"


def test_it_starts_at_the_first_square_and_is_never_reset() -> None:
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(every=1, alpha=0.25), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy}, iterations=1)
    learner.train(benchmark.train[0])
    assert_close(strategy.state.running, witness.squares[0])
    learner.train(benchmark.train[1])
    first, second = witness.squares
    assert_close(strategy.state.running, {name: 0.25 * second[name] + 0.75 * first[name] for name in first})


def test_the_newest_square_has_weight_alpha() -> None:
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(every=1, alpha=1.0), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy})
    learner.train(benchmark.train[0])
    assert_close(strategy.state.running, witness.squares[-1])


def test_the_penalty_uses_the_fisher_at_the_end_of_the_last_experience() -> None:
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(every=1, strength=100.0, alpha=0.5), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy})
    learner.train(benchmark.train[0])
    stored = {name: value.clone() for name, value in strategy.state.fisher.items()}
    assert_close(stored, recursion(witness.squares, 0.5))
    assert all(torch.equal(weights(learner)[name], value) for name, value in strategy.state.centre.items())
    seen: list[bool] = []

    class During(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            seen.append(all(torch.equal(stored[name], value) for name, value in strategy.state.fisher.items()))

    later = toy_learner(benchmark, {"s": strategy, "during": During()})
    later.model.load_state_dict(learner.model.state_dict())
    later.meet(benchmark.train[0])
    later.train(benchmark.train[1])
    assert seen == [True] * 4
    assert any(not torch.equal(stored[name], value) for name, value in strategy.state.fisher.items())


def test_watching_changes_nothing_in_the_training_itself() -> None:
    benchmark, trained = toy_benchmark(TIL), []
    for strategies in ({"lwf": LwF()}, {"lwf": LwF(), "s": EWCPlusPlus(strength=0.0)}):
        learner = toy_learner(benchmark, strategies)
        for experience in benchmark.train:
            learner.train(experience)
        trained.append(weights(learner))
    assert all(torch.equal(trained[1][name], value) for name, value in trained[0].items())


def mean(squares: list[Named]) -> Named:
    return {name: torch.stack([square[name] for square in squares]).mean(0) for name in squares[0]}


def test_squares_of_a_window_are_averaged_before_the_fisher_moves() -> None:
    """As the first author's code has it; what is left over at the end of an experience is dropped, as there."""
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(alpha=0.4, every=2), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy}, iterations=5)
    learner.train(benchmark.train[0])
    windows = [mean(witness.squares[:2]), mean(witness.squares[2:4])]
    assert_close(strategy.state.running, recursion(windows, 0.4))
    learner.train(benchmark.train[1])
    windows += [mean(witness.squares[5:7]), mean(witness.squares[7:9])]
    assert_close(strategy.state.running, recursion(windows, 0.4))


def test_an_experience_shorter_than_a_window_is_one() -> None:
    benchmark, strategy, witness = toy_benchmark(TIL), EWCPlusPlus(alpha=0.4, every=50), Witness()
    learner = toy_learner(benchmark, {"witness": witness, "s": strategy}, iterations=3)
    learner.train(benchmark.train[0])
    assert_close(strategy.state.fisher, mean(witness.squares))
    learner.train(benchmark.train[1])
    assert_close(strategy.state.fisher, recursion([mean(witness.squares[:3]), mean(witness.squares[3:])], 0.4))


def test_a_longer_window_has_the_same_size_and_less_noise() -> None:
    """So a strength means the same whatever the window."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(20_000, generator=generator)
    squares = (scale * torch.randn(400, 20_000, generator=generator)).square()
    found = {}
    for every in (1, 50):
        running: Named = {}
        for window in squares.split(every):
            running = moving_average(running, {"w": window.mean(0)}, 0.9)
        found[every] = running["w"] / scale.square()
    assert [float(ratio.mean()) for ratio in found.values()] == pytest.approx([1.0, 1.0], abs=0.05)
    assert float(found[1].std()) > 6 * float(found[50].std())


def test_no_further_pass_over_the_data_is_made() -> None:
    benchmark = toy_benchmark(TIL)
    learner, batches = toy_learner(benchmark, {"s": EWCPlusPlus()}), []
    one_pass = learner.one_pass
    learner.one_pass = lambda *a, **k: batches.append(1) or one_pass(*a, **k)  # type: ignore[method-assign]
    learner.train(benchmark.train[0])
    assert not batches
