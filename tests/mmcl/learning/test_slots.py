"""What the occupants of slots OBJECTIVE, GRADIENT and HEAD decide, and that nobody else is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Inputs
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.heads import LinearHead
from mmcl.models.output import Output
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


@dataclass(kw_only=True, eq=False)
class Squares(StrategyPlugin):
    """Trains the logits towards zero, whatever the classes."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})

    def objective(self, learner: Learner) -> Tensor:
        assert learner.output.logits is not None
        return learner.output.logits.square().mean()


@dataclass(kw_only=True, eq=False)
class Silence(StrategyPlugin):
    """Sets every gradient to zero, last of all."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.GRADIENT})

    def edit_gradient(self, learner: Learner) -> None:
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()


@dataclass(kw_only=True, eq=False)
class Pull(StrategyPlugin):
    """Adds one to every gradient."""

    def gradient_terms(self, learner: Learner) -> GradientValues:
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(1.0)
        return {}


@dataclass(kw_only=True, eq=False)
class Unasked(StrategyPlugin):
    """Defines everything an occupant is asked for and occupies nothing."""

    def objective(self, learner: Learner) -> Tensor:
        raise AssertionError("asked for the objective")

    def edit_gradient(self, learner: Learner) -> None:
        raise AssertionError("asked to edit the gradient")


class Contrary(LinearHead):
    """Answers with the class it scores lowest."""

    def predict(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        return -self.score(output, inputs, label_space)


@dataclass(kw_only=True, eq=False)
class ContraryHead(StrategyPlugin):
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD})

    freeze_later: bool = False
    asked: list[str] = field(default_factory=list)

    def adapt_model(self, learner: Learner) -> None:
        learner.model.head = Contrary(learner.model.backbone.width)
        learner.model.backbone.requires_grad_(False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        if self.freeze_later:
            learner.model.head.requires_grad_(False)


def trained(strategies: Mapping[str, StrategyPlugin], experiences: int = 1, **training: object) -> Learner:
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, dict(strategies), **training)
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
    return learner


@torch.no_grad()
def mean_square(learner: Learner) -> float:
    (batch,) = learner.one_pass(toy_benchmark(CIL).train[0].samples, 100)
    learner.consider(batch)
    return float(learner.model(batch.inputs).logits.square().mean())  # type: ignore[union-attr]


def test_the_occupant_of_the_objective_gives_the_task_loss() -> None:
    learner = trained({"squares": Squares()}, iterations=60, lr=1e-2)
    assert set(learner.loss_terms) == {"task"}
    assert mean_square(learner) < 0.1 * mean_square(trained({}, iterations=60, lr=1e-2))


def test_the_occupant_of_the_gradient_has_the_last_word() -> None:
    start = weights(toy_learner(toy_benchmark(CIL)))
    for name, value in weights(trained({"silence": Silence(), "pull": Pull()}, optimizer="sgd")).items():
        assert torch.equal(value, start[name])
    assert any(not torch.equal(v, start[n]) for n, v in weights(trained({"pull": Pull()}, optimizer="sgd")).items())


def test_whoever_occupies_nothing_is_not_asked() -> None:
    plain, other = weights(trained({})), weights(trained({"unasked": Unasked()}))
    assert all(torch.equal(value, other[name]) for name, value in plain.items())


def test_a_head_may_decide_otherwise_than_it_is_trained() -> None:
    learner = trained({"head": ContraryHead()}, iterations=60, lr=1e-2)
    train = toy_benchmark(CIL).train[0]
    learned = learner.evaluate(train, Accuracy())
    with torch.no_grad():
        (batch,) = learner.one_pass(train.samples, 100)
        learner.consider(batch)
        trained_for = learner.model(batch.inputs).logits.argmax(1)  # type: ignore[union-attr]
    assert (trained_for == learner.label_space.columns(batch.targets)).float().mean() > 0.9
    assert learned < 10.0


def test_what_the_strategies_add_at_random_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = weights(trained({"head": ContraryHead()}))
    torch.manual_seed(2)
    second = weights(trained({"head": ContraryHead()}))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("freeze_later", [False, True])
def test_a_checkpoint_holds_what_was_trained_even_if_it_is_frozen_by_now(freeze_later: bool) -> None:
    learner = trained({"head": ContraryHead(freeze_later=freeze_later)})
    saved = model_tensors(learner.model, learner.untouched)
    assert {name for name in saved if not name.endswith("attn_mask")} == {"head.weight", "head.bias"}
    fresh = toy_learner(toy_benchmark(CIL), {"head": ContraryHead(freeze_later=freeze_later)})
    fresh.meet(toy_benchmark(CIL).train[0])
    assert restore_model(fresh.model, saved) == fresh.untouched
    assert torch.equal(fresh.model.head.weight, learner.model.head.weight)  # type: ignore[arg-type]


def test_weights_that_are_thawed_are_saved_from_then_on() -> None:
    learner = toy_learner(toy_benchmark(CIL), {"head": ContraryHead()})
    learner.model.backbone.requires_grad_(True)
    learner.train(toy_benchmark(CIL).train[0])
    learner.model.backbone.requires_grad_(False)
    assert not learner.untouched
