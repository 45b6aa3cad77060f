"""What happens in a training step, and in which order."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.streams.scenario import CIL, MDTIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

HOOKS = (
    "before_training_iteration",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_update",
    "after_update",
    "after_training_iteration",
)


def norm(learner: Learner) -> float:
    return (
        float(torch.stack([p.grad.square().sum() for p in learner.model.parameters() if p.grad is not None]).sum())
        ** 0.5
    )


class Adds(StrategyPlugin):
    """Adds to the gradient after the backward pass."""

    def gradient_terms(self, learner: Learner) -> GradientValues:
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad += 1.0
        return {}


class EditsLast(StrategyPlugin):
    """Has the last word: the gradient is three times what it finds."""

    slots = frozenset({Slot.GRADIENT})

    def __init__(self) -> None:
        self.found: list[float] = []

    def edit_gradient(self, learner: Learner) -> None:
        self.found.append(norm(learner))
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad *= 3.0


class Norms(StrategyPlugin):
    """The norm of the gradient as the optimiser gets it."""

    def __init__(self) -> None:
        self.plain: list[float] = []
        self.final: list[float] = []

    def after_backward(self, learner: Learner, **_: object) -> None:
        self.plain.append(norm(learner))

    def before_update(self, learner: Learner, **_: object) -> None:
        self.final.append(norm(learner))


def test_the_gradient_is_clipped_after_everybody_has_changed_it() -> None:
    benchmark, norms, last = toy_benchmark(TIL), Norms(), EditsLast()
    strategies = {"last": last, "adds": Adds(), "norms": norms}
    learner = toy_learner(benchmark, strategies, max_grad_norm=0.5)
    learner.train(benchmark.train[0])
    assert norms.final == pytest.approx([0.5] * 4, rel=1e-4)
    assert min(last.found) > 10  # some tens of thousands of ones have been added before


def test_without_a_bound_the_gradient_stays_as_it_is() -> None:
    benchmark, norms, last = toy_benchmark(TIL), Norms(), EditsLast()
    learner = toy_learner(benchmark, {"norms": norms, "last": last})
    learner.train(benchmark.train[0])
    assert norms.final == pytest.approx([3 * plain for plain in norms.plain], rel=1e-5)


def test_the_gradient_of_a_step_is_that_of_its_own_loss() -> None:
    benchmark, compared = toy_benchmark(TIL), []

    class Compare(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            self.named = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
            self.own = torch.autograd.grad(
                learner.loss, list(self.named.values()), retain_graph=True, materialize_grads=True
            )

        def before_update(self, learner: Learner, **_: object) -> None:
            for parameter, gradient in zip(self.named.values(), self.own, strict=True):
                found = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
                torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6)
            compared.append(learner.step)

    learner = toy_learner(benchmark, {"compare": Compare()})
    learner.train(benchmark.train[0])
    assert compared == [0, 1, 2, 3]


def test_hooks_come_in_order_and_weights_change_between_the_two_around_the_update() -> None:
    benchmark, seen = toy_benchmark(TIL), list[tuple[str, float]]()

    def note(name: str) -> Any:
        def hook(self: StrategyPlugin, learner: Learner, **_: object) -> None:
            (weight, *_rest) = [p for p in learner.model.parameters() if p.requires_grad and p.ndim > 1]
            seen.append((name, float(weight.detach().double().sum())))

        return hook

    kind = type("Noting", (StrategyPlugin,), {name: note(name) for name in HOOKS})
    learner = toy_learner(benchmark, {"noting": kind()}, iterations=2, warmup=0, schedule="constant")
    learner.train(benchmark.train[0])
    assert tuple(name for name, _ in seen) == HOOKS * 2
    sums = [value for _, value in seen]
    assert len(set(sums[:6])) == len(set(sums[6:14])) == len(set(sums[14:])) == 1
    assert sums[5] != sums[6]
    assert sums[13] != sums[14]


def test_every_experience_has_a_fresh_optimiser_with_the_settings() -> None:
    benchmark, ages = toy_benchmark(TIL), list[tuple[int, int]]()

    class Ages(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            ages.append((learner.step, len(learner.optimizer.state)))

    learner = toy_learner(benchmark, {"ages": Ages()}, betas=(0.5, 0.6), weight_decay=0.25)
    for experience in benchmark.train[:2]:
        learner.train(experience)
        (group,) = learner.optimizer.param_groups
        assert (group["betas"], group["weight_decay"]) == ((0.5, 0.6), 0.25)
    assert [count == 0 for step, count in ages] == [step == 0 for step, _ in ages]
    learner = toy_learner(benchmark, optimizer="sgd", momentum=0.3, weight_decay=0.25)
    learner.train(benchmark.train[0])
    (group,) = learner.optimizer.param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.3, 0.25)


def test_orders_differ_by_experience_purpose_and_seed_and_repeat_otherwise() -> None:
    benchmark = toy_benchmark(CIL, 2)

    def order(seed: int, experience: int, name: str) -> Tensor:
        learner = toy_learner(benchmark, seed=seed)
        learner.experience = benchmark.train[experience]
        batches = learner.batches(benchmark.train[0].samples, 4, name=name)
        return torch.tensor([int(id_.split("/")[1]) for batch in batches for id_ in batch.inputs.sample_ids])

    plain = order(0, 0, "batches")
    assert sorted(plain.tolist()) == list(range(16))
    assert torch.equal(plain, order(0, 0, "batches"))
    for other in (order(1, 0, "batches"), order(0, 1, "batches"), order(0, 0, "second")):
        assert not torch.equal(plain, other)


def test_batches_in_which_nothing_that_is_trained_takes_part_are_said_and_change_nothing() -> None:
    benchmark = toy_benchmark(MDTIL)
    learner = toy_learner(benchmark, freeze=("backbone.clip.[!v]*",))  # all but the image tower
    before = weights(learner)
    learner.train(benchmark.train[1])  # texts
    assert [sentence for sentence in learner.remarks if "nothing that is trained takes part" in sentence]
    assert all(torch.equal(value, before[name]) for name, value in weights(learner).items())
    learner.train(benchmark.train[0])  # images
    assert not all(torch.equal(value, before[name]) for name, value in weights(learner).items())
