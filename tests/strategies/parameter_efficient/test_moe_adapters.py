"""Experts beside the MLPs of both towers: what is learned stays, what is plain is untouched, what is used counts."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.draws import Draws
from mmcl_strategies.parameter_efficient.experts import SHARED, Mixture, MixtureShape
from mmcl_strategies.parameter_efficient.moe_adapters import OWNER, MoEAdapters
from mmcl_strategies.routing.ddas import DDAS
from mmcl_strategies.routing.latest import Latest
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.models.arrival import Arrival
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import Here
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

SPACE = LabelSpace.of(["alpha", "beta", "gamma"], templates=["a {}"])
SHAPE = MixtureShape(experts=5, top_k=2, bottleneck=3, scale=0.1, dropout=0.0, noise_floor=0.01, shared_gate=False)


def small(**options: Any) -> MoEAdapters:
    return MoEAdapters(**{"experts": 4, "bottleneck": 4, "freeze": 1, "lr": 1e-2, **options})


def trained(experiences: int = 2, strategy: MoEAdapters | None = None, **training: Any) -> Learner:
    benchmark = toy_benchmark(TIL, experiences)
    learner = toy_learner(benchmark, {OWNER: strategy or small()}, iterations=3, **training)
    for experience in benchmark.train:
        learner.train(experience)
    learner.model.eval()
    return learner


def images(*ways: int, strength: float = 1.0) -> Inputs:
    count = len(ways)
    values = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    route = Route(torch.tensor(ways), torch.full((count,), strength))
    return Inputs({IMAGE: values}, {IMAGE: torch.ones(count, dtype=torch.bool)}, asked=Asked(SPACE), route=route)


def mixtures(learner: Learner, tower: str) -> list[Mixture]:
    return [site.exit.addons[OWNER] for site in learner.model.backbone.sites_of(tower, "mlp")]  # type: ignore[index,misc]


def mixture() -> Mixture:
    """With experts that do something, and gates for two experiences."""
    made = Mixture(6, SHAPE)
    for index in (0, 1):
        made.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made.eval()


def passed(made: Mixture, x: Tensor, *ways: int) -> Tensor:
    rows = Inputs({IMAGE: x}, {IMAGE: torch.ones(len(x), dtype=torch.bool)}, route=Route.given(torch.tensor(ways)))
    return made(Here(torch.zeros_like(x), x, made), rows).detach()


def plain_clip() -> MultimodalModel:
    """Frozen as the one under examination: torch multiplies by weights that need a gradient in another way."""
    return MultimodalModel(tiny_clip()).requires_grad_(False).eval()


def test_before_training_every_way_is_the_pretrained_models_bit_for_bit() -> None:
    learner = toy_learner(toy_benchmark(TIL, 1), {OWNER: small()})
    learner.meet(toy_benchmark(TIL, 1).train[0])
    plain = plain_clip()
    with torch.no_grad():
        assert torch.equal(learner.model.eval()(images(0, 0)).logits, plain(images(0, 0)).logits)


@pytest.mark.parametrize("batch", [images(PLAIN, PLAIN), images(0, 1, strength=0.0)])
def test_afterwards_the_plain_way_and_strength_zero_still_are(batch: Inputs) -> None:
    learner, plain = trained(), plain_clip()
    with torch.no_grad():
        assert torch.equal(learner.model(batch).logits, plain(batch).logits)
        among_others = learner.model(images(0, PLAIN, 1)).logits[1]
        assert torch.equal(among_others, plain(images(0, PLAIN, 1)).logits[1])
        assert not torch.equal(learner.model(images(0, 1)).logits, plain(images(0, 1)).logits)


def test_half_the_strength_is_half_of_what_experts_add() -> None:
    made, x = mixture(), torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    there, ways = torch.ones(2, dtype=torch.bool), torch.tensor([0, 1])
    rows = Inputs({IMAGE: x}, {IMAGE: there}, route=Route(ways, torch.tensor([0.5, 1.0])))
    whole, half = passed(made, x, 0, 1), made(Here(torch.zeros_like(x), x, made), rows).detach()
    assert bool(whole.any())
    torch.testing.assert_close(half, whole * torch.tensor([0.5, 1.0]).view(-1, 1, 1))


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    learner, batch = trained(3), images(0, PLAIN, 2, 1, 0)
    with torch.no_grad():
        together = learner.model(batch).logits
        alone = torch.cat([learner.model(batch.select(torch.tensor([row]))).logits for row in range(5)])
        swapped = learner.model(batch.replace(route=images(1, PLAIN, 0, 0, 2).route)).logits
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together[2], swapped[2])


def test_both_towers_learn_and_each_way_has_prompts_of_its_own() -> None:
    learner = trained()
    assert learner.model.backbone.adapted == {IMAGE, TEXT}
    for tower in (IMAGE, TEXT):
        assert all(bool(expert.up.weight.any()) for made in mixtures(learner, tower) for expert in made.experts[:1])
    head = learner.model.head
    assert isinstance(head, TextHead)
    with torch.no_grad():
        first, second, plain = (head.text_features(SPACE, (way, 1.0)) for way in (0, 1, PLAIN))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, plain)


def test_experts_read_the_residual_stream_at_every_token_and_the_gate_its_first_alone() -> None:
    made, x = mixture(), torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(1))
    gates = made.choice(x[:, 0], Route.given(torch.zeros(4, dtype=torch.long))).gates
    assert gates.positions.shape == (4, 2)
    torch.testing.assert_close(gates.shares.sum(1), torch.ones(4))
    expected = torch.zeros_like(x)
    for row in range(4):
        for e, share in zip(gates.positions[row].tolist(), gates.shares[row], strict=True):
            expert = made.experts[e]
            expected[row] += share * 0.1 * expert.up(expert.down(x[row]).relu())
    torch.testing.assert_close(passed(made, x, 0, 0, 0, 0), expected.detach())
    other = torch.cat([x[:, :1], torch.randn(4, 6, 6)], 1)
    assert torch.equal(passed(made, other, 0, 0, 0, 0)[:, 0], passed(made, x, 0, 0, 0, 0)[:, 0])


def test_evaluation_is_without_noise_and_the_same_twice() -> None:
    learner = trained()
    with torch.no_grad():
        assert torch.equal(learner.model(images(0, 1)).logits, learner.model(images(0, 1)).logits)
    counts = [made.counts.clone() for made in mixtures(learner, IMAGE)]
    learner.model(images(0, 1))
    assert all(torch.equal(a, b.counts) for a, b in zip(counts, mixtures(learner, IMAGE), strict=True))


def test_without_noise_all_class_prompts_have_the_same_experts() -> None:
    learner = trained()
    (made, *_) = mixtures(learner, TEXT)
    made.counts.zero_()
    made.train().draws = None
    backbone = learner.model.backbone
    backbone.encode_texts(backbone.tokenize(SPACE.names), Route.given(torch.zeros(3, dtype=torch.long)))
    assert sorted(made.counts.tolist()) == [0, 0, 3, 3]


def settled(learner: Learner) -> dict[str, Tensor]:
    """Everything that must never change again: what is pre-trained, frozen experts, gates of what has been learned."""
    found = {}
    for name, module in learner.model.named_modules():
        if isinstance(module, Mixture):
            parts = [("gates", index) for index in module.gates]
            parts += [("experts", str(e)) for e in module.frozen.nonzero().flatten().tolist()]
            for kind, part in parts:
                for inner, parameter in module.get_submodule(f"{kind}.{part}").named_parameters():
                    found[f"{name}.{kind}.{part}.{inner}"] = parameter.detach().clone()
    return found | {name: value for name, value in weights(learner).items() if ".addons." not in name}


def test_frozen_experts_and_earlier_gates_are_bit_identical_after_later_experiences() -> None:
    benchmark = toy_benchmark(TIL, 3)
    learner = toy_learner(benchmark, {OWNER: small()}, iterations=4, weight_decay=0.5)
    before = settled(learner)
    for experience in benchmark.train:
        learner.train(experience)
        after = weights(learner)
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert len(settled(learner)) > len(before)
        before = settled(learner)


def test_only_the_gate_of_the_experience_is_trained() -> None:
    learner = trained(3)
    for tower in (IMAGE, TEXT):
        for made in mixtures(learner, tower):
            assert {name for name, gate in made.gates.items() if gate.weight.requires_grad} == {"2"}


class Noiseless(Draws):
    """Drops what is to be dropped, and explores nothing."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)


def test_hidden_units_are_dropped_in_training_and_their_mean_stays() -> None:
    made = mixture()
    made.shape = replace(SHAPE, dropout=0.5)
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    whole = passed(made, x, 0, 1)
    made.train().draws = Noiseless(torch.Generator().manual_seed(2))
    drawn = torch.stack([passed(made, x, 0, 1) for _ in range(400)])
    assert not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(drawn.mean(0), whole, rtol=0.1, atol=0.15)


def test_an_experience_counts_its_own_rows_in_steps() -> None:
    learner = trained(2, small(top_k=3))
    made = mixtures(learner, IMAGE)[0]
    batch, steps = learner.config.batch_size, 3
    assert int(made.counts.sum()) == 3 * batch * steps


def test_an_idle_expert_drifts_on_or_stays_as_chosen() -> None:
    moved = {}
    for idle in ("decay", "skip"):
        strategy = small(experts=6, top_k=1, idle=idle, freeze=0)
        learner = trained(1, strategy, batch_size=2)
        optimizer = learner.optimizer.state
        made = [m for tower in (IMAGE, TEXT) for m in mixtures(learner, tower)]
        moved[idle] = [
            int(optimizer[e.up.bias]["step"]) if e.up.bias in optimizer else 0 for m in made for e in m.experts
        ]
    assert set(moved["decay"]) == {3}
    assert min(moved["skip"]) < 3


def test_the_balance_is_a_term_where_it_has_a_weight() -> None:
    learner = trained(1, small(balance=2.0))
    assert learner.loss_terms[f"{OWNER}/balance"].item() > 0
    assert all(not made.balancing or len(made.balancing) == 1 for made in mixtures(learner, IMAGE))
    assert list(trained(1).loss_terms) == ["task"]


def test_one_gate_may_serve_all_experiences_and_needs_nobody_to_find_the_way() -> None:
    benchmark = toy_benchmark(CIL, 3)
    learner = toy_learner(benchmark, {OWNER: small(gates="shared", freeze=0)})
    for experience in benchmark.train:
        learner.train(experience)
    assert isinstance(learner.model.router, Latest)
    assert all(list(made.gates) == [SHARED] for made in mixtures(learner, IMAGE))
    batch = images(0, 0).replace(route=None)
    with torch.no_grad():
        assert learner.model.eval()(batch).route.ids.tolist() == [2, 2]
        assert torch.equal(learner.model(batch).logits, learner.model(images(0, 1)).logits)


def test_where_the_task_is_hidden_somebody_has_to_find_the_way() -> None:
    hidden = Surroundings(CIL)
    with pytest.raises(CompositionError, match="chooses the way through the model") as refused:
        check_composition([small()], [OWNER], hidden)
    assert "ddas" in refused.value.remedy
    check_composition([small()], [OWNER], Surroundings(TIL))
    check_composition([small(gates="shared")], [OWNER], hidden)
    for order in ([small(), DDAS()], [DDAS(), small()]):
        check_composition(order, ["one", "two"], hidden)


@pytest.mark.parametrize("option", ["top_k", "freeze"])
def test_more_experts_than_there_are_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="there are 4 experts"):
        MoEAdapters(experts=4, **{"top_k": 2, "freeze": 2, option: 5})


def test_three_hundred_gates_are_one_choice_for_a_batch_that_takes_many_ways() -> None:
    made = Mixture(6, SHAPE).eval()
    for index in range(300):
        made.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    with torch.no_grad():
        for index in (7, 250, 299):
            made.gates[str(index)].weight[:, index % 5] = 10.0
    token = torch.ones(3, 6)
    chosen = made.choice(token, Route.given(torch.tensor([299, 7, 250]))).gates
    assert chosen.positions[:, 0].tolist() == [4, 2, 0]
