"""HAT: what earlier experiences need does not move, whatever the optimiser; gates sharpen in every epoch and move."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.guard import Guard
from mmcl_strategies.architecture.hard_attention import annealed, annealed_by_offset, compensation
from mmcl_strategies.architecture.hat import HAT, _links
from mmcl_strategies.replay.replay import Replay
from torch import Tensor

from mmcl.config import merged
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.learning.compose import Need, Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "lr": 0.05, "schedule": "constant", "warmup": 0}
HEAVY = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05}
DECAYING = {"optimizer": "adamw", "weight_decay": 0.1}
NETWORKS = ("mlp", "conv", "adapter", "transformer")


def hat(network: str = "mlp", **options: Any) -> HAT:
    return HAT(network=network, **{"hidden": (24, 16), "channels": (4, 6), "bottleneck": 8, **options})


def gates(learner: Learner) -> list[Gate]:
    return [module for module in learner.model.modules() if isinstance(module, Gate)]


@torch.no_grad()
def answers(learner: Learner, benchmark: Benchmark, task: int) -> Tensor:
    """Scores of the test samples of an experience among its own classes, as at evaluation."""
    (batch,) = learner.one_pass(benchmark.test[task].samples, 100)
    learner.consider(batch)
    learner.model.eval()
    logits = learner.model.predict(batch.inputs).logits
    assert logits is not None
    return logits


def relied_on(learner: Learner) -> list[tuple[Tensor, Tensor]]:
    """The entries of each gated parameter that an experience so far needs, and their values."""
    factors = [pair for link in _links(learner.model) for pair in link.factors()]
    return [(factor == 0, parameter.detach().clone()) for parameter, factor in factors]


def learn(strategies: dict[str, StrategyPlugin], scenario: Scenario = TIL, **training: Any) -> Iterator[Learner]:
    """The learner after each of three experiences; the benchmark is the toy one."""
    learner = toy_learner(toy_benchmark(scenario), strategies, **{"iterations": 6, **training})
    for experience in toy_benchmark(scenario).train:
        learner.train(experience)
        yield learner


@pytest.mark.parametrize("training", [HEAVY, DECAYING], ids=["momentum", "adamw"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_earlier_experiences_rely_on_is_bit_identical_and_so_are_their_answers(
    network: str, training: dict[str, Any]
) -> None:
    benchmark, before = toy_benchmark(), {}
    needed: list[tuple[Tensor, Tensor]] = []
    moved = 0
    for count, learner in enumerate(learn({"hat": hat(network)}, **training), start=1):
        for (entries, values), (_, now) in zip(needed, relied_on(learner), strict=bool(needed)):
            assert torch.equal(now[entries], values[entries])
            moved += int((now[~entries] != values[~entries]).sum())
        for task, expected in before.items():
            assert torch.equal(answers(learner, benchmark, task), expected)
        before = {task: answers(learner, benchmark, task) for task in range(count)}
        needed = relied_on(learner)
        assert any(bool(entries.any()) for entries, _ in needed)
    assert moved > 100


@pytest.mark.parametrize("training", [HEAVY, DECAYING], ids=["momentum", "adamw"])
@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_without_a_gate_moves_after_the_first_experience(network: str, training: dict[str, Any]) -> None:
    learners = learn({"hat": hat(network)}, **training)
    learner = next(learners)
    linked = {id(parameter) for link in _links(learner.model) for parameter in link.layer.parameters()}
    shared = [
        name
        for name, parameter in learner.model.named_parameters()
        if id(parameter) not in linked and not name.startswith("head.") and ".addons." not in name
    ]
    first = weights(learner)
    last = weights(list(learners)[-1])
    assert all(torch.equal(last[name], first[name]) for name in shared)
    start = weights(toy_learner(toy_benchmark()))
    assert any(not torch.equal(first[name], start[name]) for name in shared) == (network == "transformer")


@pytest.mark.parametrize("network", NETWORKS)
def test_without_the_guards_the_answers_would_change(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "scale_gradient", lambda self: None)
    monkeypatch.setattr(Guard, "put_back", lambda self: None)
    learners, benchmark = learn({"hat": hat(network)}, **DECAYING), toy_benchmark()
    before = answers(next(learners), benchmark, 0)
    assert not torch.equal(answers(next(learners), benchmark, 0), before)


@pytest.mark.parametrize("part", ["scale_gradient", "put_back"])
def test_with_momentum_or_decay_neither_half_of_a_guard_is_enough(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, part, lambda self: None)
    learners, benchmark = learn({"hat": hat()}, **DECAYING), toy_benchmark()
    before = answers(next(learners), benchmark, 0)
    assert torch.equal(answers(next(learners), benchmark, 0), before) == (part == "scale_gradient")


def test_plain_sgd_keeps_the_papers_soft_gates_and_protects_in_proportion() -> None:
    learners = learn({"hat": hat(s_max=3.0, lr=None, gate_lr=None)}, **PLAIN)
    learner = next(learners)
    soft = torch.cat([gate.used for gate in gates(learner)])
    assert bool(((soft > 0.01) & (soft < 0.99)).any())
    torch.testing.assert_close(gates(learner)[0].used, (3.0 * gates(learner)[0].embeddings[0].detach()).sigmoid())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_between_soft_gates_is_scaled_by_what_both_ends_leave_free(network: str) -> None:
    compared: list[float] = []

    class Compare(StrategyPlugin):
        def after_backward(self, learner: Learner, **_: object) -> None:
            pairs = [pair for link in _links(learner.model) for pair in link.factors() if pair[0].grad is not None]
            self.raw = [(p, p.grad.clone(), factor) for p, factor in pairs]  # type: ignore[union-attr]

        def before_update(self, learner: Learner, **_: object) -> None:
            for parameter, raw, factor in self.raw if len(learner.seen) > 1 else ():
                left = torch.zeros_like(raw) if parameter.grad is None else parameter.grad
                torch.testing.assert_close(left, raw * factor)
                compared.extend(((factor > 0.05) & (factor < 0.95) & (raw != 0)).flatten().float().tolist())

    learners = learn({"hat": hat(network, s_max=3.0), "compare": Compare()}, **PLAIN)
    next(learners)
    next(learners)
    assert sum(compared) > 100


@pytest.mark.parametrize("training", [HEAVY, DECAYING], ids=["momentum", "adamw"])
def test_any_other_optimiser_has_binary_gates_and_they_are_what_is_evaluated(training: dict[str, Any]) -> None:
    for learner in learn({"hat": hat()}, **training):
        for gate in gates(learner):
            assert set(gate.used.unique().tolist()) <= {0.0, 1.0}
            for row in range(len(learner.seen)):
                assert set(gate.row(row).unique().tolist()) <= {0.0, 1.0}


def test_soft_gates_are_refused_where_they_protect_nothing() -> None:
    with pytest.raises(ConfigError, match=r"hat.binary: gates between 0 and 1.*adamw.*binary=true"):
        next(learn({"hat": hat(binary=False)}))


def test_soft_gates_of_an_earlier_experience_are_refused_too() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"hat": hat(s_max=3.0)}, **PLAIN)
    learner.train(benchmark.train[0])
    learner._settings = (learner._settings[0], merged(PLAIN, {"optimizer": "adamw"}))
    with pytest.raises(ConfigError, match=r"hat.binary"):
        learner.train(benchmark.train[1])


@dataclass(kw_only=True, eq=False)
class Watch(StrategyPlugin):
    """Notes the sharpness of every step, in the forward pass and after it, and the gradients of the embeddings."""

    during: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    raw: list[list[Tensor]] = field(default_factory=list)
    final: list[list[Tensor]] = field(default_factory=list)
    embeddings: list[list[Tensor]] = field(default_factory=list)

    def after_forward(self, learner: Learner, **_: object) -> None:
        self.during += {gate.sharpness for gate in gates(learner)}

    def after_backward(self, learner: Learner, **_: object) -> None:
        active = [gate.embedding for gate in gates(learner)]
        self.embeddings.append([e.detach().clone() for e in active])
        self.raw.append([e.grad.clone() for e in active if e.grad is not None])

    def before_update(self, learner: Learner, **_: object) -> None:
        self.final.append([gate.embedding.grad.clone() for gate in gates(learner)])  # type: ignore[union-attr]

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        self.later += {gate.sharpness for gate in gates(learner)}


def test_gates_sharpen_from_soft_to_sharp_inside_every_epoch() -> None:
    watch = Watch()
    next(learn({"hat": hat(), "watch": watch}, iterations=None, epochs=3, batch_size=4))  # 16 samples, 4 batches
    assert watch.during == [annealed(batch, 4, 400.0) for batch in range(4)] * 3
    assert watch.later == [400.0] * 12


def test_training_in_steps_ends_sharp_too() -> None:
    watch = Watch()
    next(learn({"hat": hat(), "watch": watch}, iterations=10, batch_size=4))
    assert watch.during[0] == 1 / 400
    assert watch.during[-1] == 400.0
    assert watch.during.count(1 / 400) == 2


def test_the_released_schedule_counts_samples() -> None:
    watch = Watch()
    next(learn({"hat": hat(annealing="released"), "watch": watch}, iterations=None, epochs=1, batch_size=5))
    assert watch.during == [annealed_by_offset(offset, 16, 400.0) for offset in (0, 5, 10, 15)]


def test_replayed_samples_do_not_change_the_epoch() -> None:
    watch = Watch()
    strategies: dict[str, StrategyPlugin] = {"hat": hat(), "watch": watch, "replay": Replay(size=8)}
    learners = learn(strategies, iterations=None, epochs=2, batch_size=4)
    next(learners)
    next(learners)
    assert watch.during == [annealed(batch, 4, 400.0) for batch in range(4)] * 4


def test_embedding_gradients_are_compensated() -> None:
    watch = Watch()
    next(learn({"hat": hat(), "watch": watch}, iterations=4))
    for step, s in enumerate(watch.during):
        for raw, final, e in zip(watch.raw[step], watch.final[step], watch.embeddings[step], strict=True):
            torch.testing.assert_close(final, raw * compensation(e, s, 400.0))
    assert float(watch.final[0][0].abs().max()) > 1000 * float(watch.raw[0][0].abs().max())  # s is 1/s_max there


def test_gates_move() -> None:
    """Some that were closed open and the other way round: without compensation they would not."""
    watch = Watch()
    learner = next(learn({"hat": hat(), "watch": watch}, iterations=30))
    start = torch.cat(watch.embeddings[0]) > 0
    assert 0.02 < float((start != torch.cat([gate.row(0) for gate in gates(learner)]).bool()).float().mean()) < 0.98


def test_embeddings_stay_between_the_limits() -> None:
    learner = next(learn({"hat": hat(gate_lr=5.0)}, iterations=8))
    assert max(float(gate.embeddings[0].detach().abs().max()) for gate in gates(learner)) == 6.0


def test_the_sparsity_term_is_one_ratio_over_the_free_units_of_all_layers() -> None:
    class Definition(StrategyPlugin):
        steps: list[int] = []

        def before_backward(self, learner: Learner, **_: object) -> None:
            active = gates(learner)
            soft = torch.cat([(gate.sharpness * gate.embedding).sigmoid() for gate in active])
            free = 1 - torch.cat([gate.used for gate in active])
            expected = 2.0 * (soft * free).sum() / free.sum()
            torch.testing.assert_close(learner.loss_terms["hat/sparsity"], expected)
            self.steps.append(len(learner.seen))

    definition = Definition()
    list(learn({"hat": hat(sparsity=2.0), "definition": definition}))
    assert definition.steps == [1] * 6 + [2] * 6 + [3] * 6


def test_the_sparsity_term_leaves_more_units_free() -> None:
    used = []
    for strength in (0.0, 5.0):
        learner = next(learn({"hat": hat(sparsity=strength)}, iterations=30))
        used.append(float(torch.cat([gate.used for gate in gates(learner)]).mean()))
    assert used[1] < 0.8 * used[0]


def test_the_first_experience_trains_without_guards() -> None:
    strategy = hat()
    benchmark = toy_benchmark()

    class Look(StrategyPlugin):
        guarded: list[int] = []

        def after_backward(self, learner: Learner, **_: object) -> None:
            self.guarded.append(len(strategy._guards))

    look = Look()
    learner = toy_learner(benchmark, {"hat": strategy, "look": look}, iterations=1)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert look.guarded[0] == 0
    assert look.guarded[1] > 0


def test_only_the_newest_output_layer_and_embedding_are_trained() -> None:
    *_, learner = learn({"hat": hat()}, iterations=2)
    head = learner.model.head
    assert [output.weight.requires_grad for output in head.outputs] == [False, False, True]  # type: ignore[union-attr]
    for gate in gates(learner):
        assert [embedding.requires_grad for embedding in gate.embeddings] == [False, False, True]


def test_learning_makes_it_better() -> None:
    benchmark = toy_benchmark(TIL, per_class=16)
    for network in ("mlp", "conv", "adapter"):
        learner = toy_learner(benchmark, {"hat": hat(network, hidden=(64, 64), gate_lr=0.01)}, iterations=80)
        learner.train(benchmark.train[0])
        found = answers(learner, benchmark, 0).argmax(1)
        (batch,) = learner.one_pass(benchmark.test[0].samples, 100)
        assert float((found == learner.label_space.columns(batch.targets)).float().mean()) > 0.9, network


def test_an_exhausted_network_still_trains_its_output_layer() -> None:
    strategy = hat(sparsity=0.0)
    learners = learn({"hat": strategy}, iterations=3)
    learner = next(learners)
    for gate in gates(learner):
        gate.used.fill_(1.0)
    stack = {name: value.clone() for name, value in learner.model.head.stack.named_parameters()}  # type: ignore[union-attr]
    learner = next(learners)
    for name, value in learner.model.head.stack.named_parameters():  # type: ignore[union-attr]
        assert "embeddings" in name or torch.equal(value, stack[name])
    assert learner.loss_terms["hat/sparsity"] == 0
    first, second, *_ = learner.model.head.outputs  # type: ignore[union-attr, misc]
    assert first.weight.grad is None
    assert second.weight.grad is not None


@pytest.mark.parametrize("network", ["mlp", "conv", "adapter", "transformer"])
def test_experiences_may_have_different_modalities(network: str) -> None:
    for learner in learn({"hat": hat(network)}, MDTIL, iterations=2):
        assert learner.loss.isfinite()


def test_a_tower_that_an_experience_does_not_use_stays_free() -> None:
    learner = next(learn({"hat": hat("adapter")}, MDTIL))  # images first
    used = {
        modality: [
            float(module.used.sum())
            for module in learner.model.backbone.towers[modality].module.modules()
            if isinstance(module, Gate)
        ]
        for modality in (IMAGE, TEXT)
    }
    assert all(used[IMAGE])
    assert not any(used[TEXT])


def test_only_networks_in_the_place_of_the_head_take_its_slot() -> None:
    for network in ("mlp", "conv"):
        assert hat(network).slots == {Slot.HEAD, Slot.GRADIENT}
    for network in ("adapter", "transformer"):
        assert hat(network).slots == {Slot.GRADIENT}
    assert Need.IMAGE_ENCODER in hat("conv").requirements()


@pytest.mark.parametrize(
    "options",
    [
        {"network": "perceptron"},
        {"annealing": "never"},
        {"hidden": ()},
        {"channels": (0,)},
        {"bottleneck": 0},
        {"dropout": 1.0},
        {"s_max": 0.5},
        {"sparsity": -1.0},
        {"lr": 0.0},
        {"gate_lr": -1.0},
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"hat.{next(iter(options))}"):
        HAT(**options)


def test_gates_new_layers_and_pretrained_ones_have_rates_of_their_own() -> None:
    peaks = {}
    for network in ("mlp", "transformer"):
        learner = next(learn({"hat": hat(network, lr=0.5, gate_lr=0.25)}, lr=0.125))
        peaks[network] = set(learner.learning_rate.peaks)
        of_gates = {id(gate.embeddings[0]) for gate in gates(learner)}
        for group, peak in zip(learner.optimizer.param_groups, learner.learning_rate.peaks, strict=True):
            assert all((id(parameter) in of_gates) == (peak == 0.25) for parameter in group["params"])
    assert peaks == {"mlp": {0.5, 0.25}, "transformer": {0.125, 0.25}}


def test_without_rates_of_their_own_they_follow_the_training_settings() -> None:
    learner = next(learn({"hat": hat(lr=None, gate_lr=None)}, lr=0.125))
    assert learner.learning_rate.peaks == [0.125]
