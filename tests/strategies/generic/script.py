"""Script: training whose weights are given in advance, so that two options are compared at the same weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import derive_generator
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import LinearHead
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.toy import toy_learner

NAME = "it"  # of the strategy in the composition
TRAINING = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "lr": 1e-12,
    "schedule": "constant",
    "warmup": 0,
    "freeze": (),  # else student and teacher have the same logit scale
    "device": "cpu",
}
Gradient = dict[str, Tensor]


@dataclass
class Moment:
    """What a strategy added in one step.

    Attributes:
        terms: name -> value; the task loss is ``task``.
        gradients: of each term, by name of parameter; what was added after the backward pass is ``added``.
        expected: what a definition says of the terms.
    """

    experience: int
    step: int
    terms: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Gradient] = field(default_factory=dict)
    expected: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class View:
    """What a definition may read, in the middle of a step.

    Attributes:
        encoded: what the strategy gave to ``learner.encode`` in this step.
        handed_over: weights at the end of each experience.
    """

    learner: Learner
    strategy: Any
    encoded: list[Inputs]
    handed_over: list[Gradient]

    @property
    def first(self) -> bool:
        """Whether it is the first experience."""
        return self.learner.current is self.learner.seen[0]


Definition = Callable[[View], Mapping[str, Tensor]]


class Script(StrategyPlugin):
    """Puts the weights in place and writes down what happens; it is the first strategy."""

    def __init__(self, strategy: Any, definition: Definition | None) -> None:
        self.strategy, self.definition = strategy, definition
        self.base: Gradient = {}
        self.moments: list[Moment] = []
        self.encoded: list[Inputs] = []
        self.handed_over: list[Gradient] = []

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        self._put(learner, learner.step)
        self.encoded.clear()

    def before_backward(self, learner: Learner, **_: object) -> None:
        moment = Moment(learner.current.index, learner.step)
        named = {name: p for name, p in learner.model.named_parameters() if p.requires_grad}
        for term, value in learner.loss_terms.items():
            name = term.removeprefix(f"{NAME}/")
            moment.terms[name] = value.detach().clone()
            if value.requires_grad:
                found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
                moment.gradients[name] = {n: g for n, g in zip(named, found, strict=True) if g is not None}
        if self.definition is not None:
            with torch.no_grad():
                view = View(learner, self.strategy, list(self.encoded), self.handed_over)
                moment.expected = dict(self.definition(view))
        self.moments.append(moment)

    def after_backward(self, learner: Learner, **_: object) -> None:
        self.plain = _gradients(learner)

    def before_update(self, learner: Learner, **_: object) -> None:
        moment = self.moments[-1]
        moment.terms |= {n.removeprefix(f"{NAME}/"): f().detach() for n, f in learner.gradient_values.items()}
        if self.strategy.terms().gradient:
            after = _gradients(learner)
            moment.gradients["added"] = {n: g - self.plain.get(n, torch.zeros_like(g)) for n, g in after.items()}

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self._put(learner, -1)
        self.handed_over.append({n: p.detach().clone() for n, p in learner.model.named_parameters()})

    @torch.no_grad()
    def _put(self, learner: Learner, step: int) -> None:
        for name, parameter in learner.model.named_parameters():
            if parameter.requires_grad:
                old = self.base.get(name)
                if old is None or old.shape != parameter.shape:
                    self.base[name] = parameter.detach().clone()
                noise = derive_generator(0, name, learner.current.index, step)
                moved = self.base[name] + 0.05 * torch.randn(parameter.shape, generator=noise)
                parameter.copy_(moved)


class Linear(StrategyPlugin):
    """Puts a linear head in the place of the text classifier."""

    def adapt_model(self, learner: Learner) -> None:
        learner.model.head = LinearHead(learner.model.backbone.width)


def scripted(
    strategy: Any,
    benchmark: Benchmark,
    definition: Definition | None = None,
    *,
    linear: bool = False,
    **training: Any,
) -> list[Moment]:
    """All steps of a stream, at weights that depend on nothing but their names and the number of the step."""
    script = Script(strategy, definition)
    others: dict[str, StrategyPlugin] = {"linear": Linear()} if linear else {}
    learner = toy_learner(benchmark, {"script": script, **others, NAME: strategy}, **{**TRAINING, **training})
    plain = learner.encode

    def encode(inputs: Inputs) -> Any:
        script.encoded.append(inputs)
        return plain(inputs)

    learner.encode = encode  # type: ignore[method-assign]
    for experience in benchmark.train:
        learner.train(experience)
    return script.moments


def _gradients(learner: Learner) -> Gradient:
    return {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}
