"""What gates and protection do in each single step, not only at the end."""

from typing import Any

import pytest
import torch
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.gated_head import GatedLayer
from mmcl_strategies.architecture.hat import HAT
from mmcl_strategies.architecture.progressive import Progressive
from mmcl_strategies.replay.decomposed_head import DecomposedHead
from mmcl_strategies.replay.kdr import KDR
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs


class EveryStep(StrategyPlugin):
    """Notes the weights of the head after each step, and the sharpness and the gates before and behind it."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.sharpness: list[tuple[float, float]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.s = learner.strategies["hat"]._gates[0].sharpness  # type: ignore[attr-defined]

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        self.weights.append({n: p.detach().clone() for n, p in learner.model.head.named_parameters()})
        gate = learner.strategies["hat"]._gates[0]  # type: ignore[attr-defined]
        self.sharpness.append((self.s, gate.sharpness))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_protected_entries_have_their_old_values_after_every_step(optimizer: str) -> None:
    benchmark, steps = toy_benchmark(TIL, 2), EveryStep()
    hat = HAT(hidden=(8,), open_start=True, binary=True)
    learner = toy_learner(
        benchmark, {"hat": hat, "steps": steps}, optimizer=optimizer, weight_decay=0.1, schedule="constant", lr=1e-2
    )
    learner.train(benchmark.train[0])
    head: Any = learner.model.head
    (layer,) = head.stack.layers
    # half of the units are taken, so that no parameter is frozen as a whole
    layer.gate.used.copy_(torch.tensor([1.0, 0.0] * 4))
    before = {n: p.detach().clone() for n, p in head.named_parameters()}
    steps.weights.clear()
    learner.train(benchmark.train[1])
    assert len(steps.weights) == 4
    for weights in steps.weights:
        moved = weights["stack.layers.0.layer.bias"] != before["stack.layers.0.layer.bias"]
        assert not moved[::2].any()
        assert moved[1::2].all()


@pytest.mark.parametrize("limit", [6.0, 2.5])
def test_gates_are_sharp_outside_of_steps_and_clamped_after_each(limit: float) -> None:
    benchmark, steps = toy_benchmark(TIL, 1), EveryStep()
    hat = HAT(hidden=(8,), gate_lr=50.0, embedding_limit=limit)
    learner = toy_learner(benchmark, {"hat": hat, "steps": steps}, warmup=0)
    learner.train(benchmark.train[0])
    assert [after for _, after in steps.sharpness] == [400.0] * 4
    assert [round(s, 4) for s, _ in steps.sharpness] == [round(1 / 400 + (400 - 1 / 400) * b / 3, 4) for b in range(4)]
    embeddings = torch.stack([w["stack.layers.0.gate.embeddings.0"] for w in steps.weights])
    assert bool((embeddings.abs() <= limit).all())
    assert bool((embeddings.abs() == limit).any())


@pytest.mark.parametrize("limit", [50.0, 2.0])
def test_the_gradient_of_an_embedding_is_compensated_up_to_the_limit(limit: float) -> None:
    benchmark, factors = toy_benchmark(TIL, 1), list[tuple[Tensor, Tensor]]()
    hat = HAT(hidden=(8,), s_max=50.0, cosh_limit=limit)

    class Peek(StrategyPlugin):
        def after_backward(self, learner: Learner, **_: object) -> None:
            (gate,) = hat._gates
            self.plain = gate.embedding.grad.clone()  # type: ignore[union-attr]

        def before_update(self, learner: Learner, **_: object) -> None:
            (gate,) = hat._gates
            e, s = gate.embedding.detach(), gate.sharpness
            sharp = (s * e).clamp(-limit, limit)
            factor = 50 / s * (sharp.cosh() + 1) / (e.cosh() + 1)
            factors.append((gate.embedding.grad.clone(), factor * self.plain))  # type: ignore[union-attr]

    learner = toy_learner(benchmark, {"hat": hat, "peek": Peek()}, warmup=0)
    learner.train(benchmark.train[0])
    assert len(factors) == 4
    for found, expected in factors:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)
        assert bool(found.any())


@pytest.mark.parametrize(
    "strategy",
    [HAT(hidden=(32,), dropout=0.5), HAT(network="conv", channels=(8,), hidden=(32,), dropout=0.5)],
    ids=["mlp", "conv"],
)
def test_units_of_gated_layers_are_dropped_in_training_alone(strategy: StrategyPlugin) -> None:
    assert dropped(strategy) == (True, False)


def test_units_of_columns_are_dropped_in_training_alone() -> None:
    assert dropped(Progressive(hidden=(32,), dropout=0.5)) == (True, False)
    assert dropped(Progressive(hidden=(32,))) == (False, False)


def dropped(strategy: StrategyPlugin) -> tuple[bool, bool]:
    """Whether two passes differ in training mode, and in evaluation mode."""
    benchmark = toy_benchmark(TIL, 1)
    learner = toy_learner(benchmark, {"it": strategy})
    learner.train(benchmark.train[0])
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    learner.consider(batch)
    found = []
    for mode in (True, False):
        learner.model.head.train(mode)
        first, second = (learner.model(batch.inputs).logits for _ in range(2))
        found.append(not torch.equal(first, second))
    return found[0], found[1]


def test_a_gated_convolution_is_pooled_by_its_largest_values_and_then_gated() -> None:
    torch.manual_seed(0)
    gate = Gate(4, s_max=10.0, idle=1.0)
    gate.add(0)
    layer = GatedLayer(nn.Conv2d(3, 4, 2), gate, 0.0)
    gate.begin(0)
    images = torch.randn(5, 3, 7, 7)
    hidden = functional.conv2d(images, layer.layer.weight, layer.layer.bias).relu()
    expected = hidden.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).max(-1).values
    expected = expected * (10.0 * gate.embeddings[0]).sigmoid().reshape(1, 4, 1, 1)
    torch.testing.assert_close(layer(images, 0), expected)


def test_private_gates_read_the_towers_as_they_were_before_any_training() -> None:
    benchmark = toy_pairs(TIL)
    learner = toy_learner(benchmark, {"kdr": KDR(samples=4)}, lr=3e-2, schedule="constant")
    head = learner.model.head
    assert isinstance(head, DecomposedHead)
    start = {n: p.detach().clone() for n, p in learner.model.backbone.named_parameters()}
    for experience in benchmark.train:
        learner.train(experience)
    (batch,) = learner.one_pass(benchmark.test[1].samples, 100)
    model = learner.model
    model.eval()
    with torch.no_grad():
        found = model.encode(batch.inputs).features
        trained = {n: encoded(model.backbone, n, batch.inputs[n]).pooled for n in (IMAGE, TEXT)}
        for name, parameter in model.backbone.named_parameters():
            parameter.copy_(start[name])
        pristine = {n: encoded(model.backbone, n, batch.inputs[n]).pooled for n in (IMAGE, TEXT)}
        part: Any = head.private["1"]
        hidden = functional.leaky_relu(part.image_second(functional.leaky_relu(part.image_first(pristine[IMAGE]))))
        gates = {IMAGE: part.image_gate(hidden).sigmoid(), TEXT: part.text_gate(pristine[TEXT]).sigmoid()}
        shared = {IMAGE: head.shared.common(head.shared.image(trained[IMAGE])), TEXT: head.shared.common(trained[TEXT])}
        for name in (IMAGE, TEXT):
            torch.testing.assert_close(found[name], part.head(shared[name] * gates[name]), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(trained[name], pristine[name], atol=1e-3)


@pytest.mark.parametrize("network", ["mlp", "adapter"])
def test_gates_begin_open_if_that_is_wanted(network: str) -> None:
    for wanted in (True, False):
        benchmark = toy_benchmark(TIL, 1)
        learner = toy_learner(benchmark, {"hat": HAT(network=network, hidden=(64,), open_start=wanted)})
        learner.meet(benchmark.train[0])
        gates = [module for module in learner.model.modules() if isinstance(module, Gate)]
        embeddings = torch.cat([gate.embeddings[0].detach() for gate in gates])
        assert bool((embeddings >= 0).all()) is wanted
        assert not wanted or float(embeddings.max()) < 2


def test_an_image_that_is_missing_is_black_to_convolutions_whatever_stands_in_for_it() -> None:
    benchmark = toy_benchmark(TIL, 1)
    learner = toy_learner(benchmark, {"hat": HAT(network="conv", channels=(16,), hidden=(32,), open_start=True)})
    learner.meet(benchmark.train[0])
    learner.experience = benchmark.train[0]
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    learner.consider(batch)
    present = torch.arange(len(batch.targets)) % 2 == 0
    scores = []
    for fill in (0.0, 9.0):
        images = torch.where(present.reshape(-1, 1, 1, 1), batch.inputs[IMAGE], fill)
        inputs = Inputs({IMAGE: images}, {IMAGE: present}, batch.inputs.sample_ids, batch.task_ids)
        output = learner.model.encode(inputs)
        scores.append(learner.model.head.score(output, inputs, learner.label_space).detach())
    assert torch.equal(*scores)
    assert len({tuple(row) for row in scores[0][present].tolist()}) > 1
