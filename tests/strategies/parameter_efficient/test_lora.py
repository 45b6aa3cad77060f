"""Low-rank additions: what is plain is untouched, what was learned stays, and merged means in the weights."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.lora import OWNER, LoRA
from mmcl_strategies.parameter_efficient.low_rank import ONLY, LowRank, LowRankShape
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.routing.ddas import DDAS
from mmcl_strategies.routing.latest import Latest
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.arrival import Arrival
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOns, Here
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

SPACE = LabelSpace.of(["alpha", "beta", "gamma"], templates=["a {}"])
SHAPE = LowRankShape(rank=2, alpha=6.0, dropout=0.0, own=True, afresh=False)
MODES = ["own", "merged", "shared"]


def small(**options: Any) -> LoRA:
    return LoRA(**{"rank": 3, "lr": 3e-2, **options})


def pretrained_clip() -> MultimodalModel:
    """Frozen as the one that is adapted: torch multiplies by weights that need a gradient in another order."""
    return MultimodalModel(tiny_clip()).eval().requires_grad_(False)


class Last(StrategyPlugin):
    """Notes the weights after the last step of each experience."""

    def __init__(self) -> None:
        self.ends: list[dict[str, Tensor]] = []

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.ends.append(weights(learner))


def trained(experiences: int = 2, strategy: LoRA | None = None, last: Last | None = None, **training: Any) -> Learner:
    benchmark = toy_benchmark(TIL, experiences)
    strategies: dict[str, StrategyPlugin] = {OWNER: strategy or small(), "last": last or Last()}
    learner = toy_learner(benchmark, strategies, iterations=3, **training)
    for experience in benchmark.train:
        learner.train(experience)
    learner.model.eval()
    return learner


def images(*ways: int, strength: float = 1.0) -> Inputs:
    count = len(ways)
    values = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    route = Route(torch.tensor(ways), torch.full((count,), strength))
    return Inputs({IMAGE: values}, {IMAGE: torch.ones(count, dtype=torch.bool)}, asked=Asked(SPACE), route=route)


def adapters(learner: Learner) -> list[tuple[str, LowRank]]:
    return [(name, module) for name, module in learner.model.named_modules() if isinstance(module, LowRank)]


def adapter(*experiences: int, shape: LowRankShape = SHAPE) -> LowRank:
    """Of a layer from 4 to 5, with adapters that do something."""
    made = LowRank(nn.Linear(4, 5), shape)
    for index in experiences:
        made.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.shape[0])))
    return made.eval()


def passed(made: LowRank, x: Tensor, *ways: int, strength: float = 1.0) -> Tensor:
    route = Route(torch.tensor(ways), torch.full((len(ways),), strength))
    rows = Inputs({IMAGE: x}, {IMAGE: torch.ones(len(x), dtype=torch.bool)}, route=route)
    return made(Here(torch.ones(*x.shape[:-1], 5), x, made), rows).detach()


@pytest.mark.parametrize("mode", MODES)
def test_before_training_every_way_is_the_pretrained_models_bit_for_bit(mode: str) -> None:
    benchmark = toy_benchmark(TIL, 1)
    learner = toy_learner(benchmark, {OWNER: small(adapters=mode)})
    learner.meet(benchmark.train[0])
    plain = pretrained_clip()
    with torch.no_grad():
        assert torch.equal(learner.model.eval()(images(0, 0)).logits, plain(images(0, 0)).logits)


@pytest.mark.parametrize("mode", ["own", "shared"])
@pytest.mark.parametrize("batch", [images(PLAIN, PLAIN), images(0, 1, strength=0.0)])
def test_afterwards_the_plain_way_and_strength_zero_still_are(batch: Inputs, mode: str) -> None:
    learner, plain = trained(strategy=small(adapters=mode)), pretrained_clip()
    with torch.no_grad():
        assert torch.equal(learner.model(batch).logits, plain(batch).logits)
        among_others = learner.model(images(0, PLAIN, 1)).logits[1]
        assert torch.equal(among_others, plain(images(0, PLAIN, 1)).logits[1])
        assert not torch.equal(learner.model(images(0, 1)).logits, plain(images(0, 1)).logits)


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
    assert all(bool(made.layer.lora_B["1"].weight.any()) for _, made in adapters(learner))  # type: ignore[index,union-attr]
    head = learner.model.head
    assert isinstance(head, TextHead)
    with torch.no_grad():
        first, second, plain = (head.text_features(SPACE, (way, 1.0)) for way in (0, 1, PLAIN))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, plain)


def test_both_layers_of_every_mlp_are_adapted_and_keep_their_classes_and_names() -> None:
    learner, plain = trained(1), MultimodalModel(tiny_clip())
    kinds = {name: type(module) for name, module in plain.named_modules()}
    now = {name: type(module) for name, module in learner.model.named_modules()}
    assert kinds.items() <= now.items()
    assert dict(plain.named_parameters()).keys() <= dict(learner.model.named_parameters()).keys()
    layers = {name.removesuffix(f".addons.{OWNER}") for name, _ in adapters(learner)}
    assert layers == {name for name in kinds if name.endswith((".mlp.c_fc", ".mlp.c_proj"))}


def test_a_row_gets_the_product_of_its_own_experience_times_alpha_over_r() -> None:
    made, x = adapter(0, 1), torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made.layer.lora_A["1"].weight.mul_(-2.0)  # type: ignore[index,union-attr,operator]
    found = passed(made, x, 1, PLAIN, 0)
    for row, way in ((0, "1"), (2, "0")):
        A, B = made.layer.lora_A[way].weight, made.layer.lora_B[way].weight  # type: ignore[index,union-attr]
        torch.testing.assert_close(found[row], 1 + 3.0 * x[row] @ A.T @ B.T)  # type: ignore[union-attr]
    assert torch.equal(found[1], torch.ones(7, 5))
    assert not torch.allclose(found[0], passed(made, x, 0, PLAIN, 0)[0])
    halved = passed(made, x, 1, 0, 0, strength=0.5)
    torch.testing.assert_close(halved[0] - 1, (found[0] - 1) / 2)


def test_a_new_adapter_is_drawn_anew_and_adds_nothing() -> None:
    made = LowRank(nn.Linear(4, 5), SHAPE)
    for index in (0, 1):
        made.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    A = [made.layer.lora_A[way].weight for way in ("0", "1")]  # type: ignore[index,union-attr]
    assert not torch.equal(A[0], A[1])  # type: ignore[arg-type]
    assert A[0].shape == (2, 4)  # type: ignore[union-attr]
    assert not any(made.layer.lora_B[way].weight.any() for way in ("0", "1"))  # type: ignore[index,union-attr,operator]
    again = deepcopy(A[0])
    made.meet(Arrival(0, SPACE, frozenset({IMAGE})))
    assert torch.equal(made.layer.lora_A["0"].weight, again)  # type: ignore[index,union-attr,arg-type]


def test_dropout_is_of_training_alone() -> None:
    made, x = adapter(0, shape=LowRankShape(2, 6.0, 0.5, own=True, afresh=False)), torch.ones(2, 3, 4)
    assert torch.equal(passed(made, x, 0, 0), passed(made, x, 0, 0))
    made.train()
    drawn = torch.stack([passed(made, x, 0, 0) for _ in range(600)])
    assert not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(drawn.mean(0), passed(made.eval(), x, 0, 0), rtol=0.1, atol=1.5)


def test_a_step_draws_what_is_left_out_while_what_is_frozen_is_in_evaluation_mode() -> None:
    modes = []

    class Modes(StrategyPlugin):
        def __post_init__(self) -> None: ...

        def after_forward(self, learner: Learner, **_: object) -> None:
            own = {module for _, made in adapters(learner) for module in made.modules()}
            frozen = [module for module in learner.model.backbone.modules() if not isinstance(module, AddOns)]
            modes.append(({module.training for module in own}, {m.training for m in frozen if m not in own}))

    stream = toy_benchmark(TIL, 1)
    toy_learner(stream, {OWNER: small(dropout=0.5), "modes": Modes()}, iterations=1).train(stream.train[0])
    assert modes == [({True}, {False})]


def test_dropout_and_alpha_reach_the_adapters() -> None:
    learner = trained(1, small(dropout=0.25, alpha=1.5))
    for _, made in adapters(learner):
        assert made.layer.lora_dropout["0"].p == 0.25  # type: ignore[index,union-attr]
        assert made.layer.scaling["0"] == 0.5  # type: ignore[index]


def test_what_is_pretrained_and_earlier_adapters_are_bit_identical_after_later_experiences() -> None:
    last = Last()
    learner = trained(3, last=last, weight_decay=0.5)
    pretrained = {f"{name}": value for name, value in MultimodalModel(tiny_clip()).named_parameters()}
    for index, end in enumerate(last.ends):
        settled = {name for name in end if ".addons." not in name}
        assert all(torch.equal(end[name], pretrained[name]) for name in settled)
        for earlier in range(index):
            own = [name for name in end if f"_A.{earlier}." in name or f"_B.{earlier}." in name]
            assert own
            assert all(torch.equal(end[name], last.ends[earlier][name]) for name in own)
    for name, parameter in learner.model.named_parameters():
        assert parameter.requires_grad is ("lora_A.2." in name or "lora_B.2." in name), name


@pytest.mark.parametrize("mode", ["merged", "shared"])
def test_where_one_adapter_serves_all_nothing_grows_and_nobody_has_to_find_the_way(mode: str) -> None:
    strategy = small(adapters=mode)
    learner = trained(3, strategy)
    assert not strategy.grows
    assert isinstance(learner.model.router, Latest)
    after_one = trained(1, small(adapters=mode))
    assert set(learner.model.state_dict()) == set(after_one.model.state_dict())
    check_composition([strategy], [OWNER], Surroundings(CIL))
    with torch.no_grad():
        assert torch.equal(learner.model(images(0, 1)).logits, learner.model(images(2, 2)).logits)


def test_a_shared_adapter_goes_on_and_a_merged_one_begins_as_nothing() -> None:
    for mode, same in (("shared", True), ("merged", False)):
        benchmark, last = toy_benchmark(TIL, 2), Last()
        learner = toy_learner(benchmark, {OWNER: small(adapters=mode), "last": last}, iterations=3)
        learner.train(benchmark.train[0])
        learner.begin(benchmark.train[1])
        for name, value in last.ends[0].items():
            if "lora_A" in name:
                assert torch.equal(value, weights(learner)[name]) is same
            if "lora_B" in name:
                assert bool(weights(learner)[name].any()) is same


def test_merged_adapters_are_in_the_weights_and_nowhere_else() -> None:
    last = Last()
    learner = trained(2, small(adapters="merged", alpha=6.0), last=last)
    handed, moved = weights(learner), 0
    for name, _ in adapters(learner):
        A, B = (last.ends[1][f"{name}.layer.lora_{part}.{ONLY}.weight"] for part in "AB")
        weight = name.removesuffix(f".addons.{OWNER}") + ".weight"
        torch.testing.assert_close(handed[weight], last.ends[1][weight] + 2.0 * B @ A)
        moved += int((handed[weight] != last.ends[1][weight]).sum())
    assert moved
    adapted = {name.removesuffix(f".addons.{OWNER}") + ".weight" for name, _ in adapters(learner)}
    pretrained = dict(MultimodalModel(tiny_clip()).named_parameters())
    assert all(torch.equal(handed[n], value) for n, value in pretrained.items() if n not in adapted)
    with torch.no_grad():
        assert torch.equal(learner.model(images(0, 1)).logits, learner.model(images(PLAIN, PLAIN)).logits)


def test_merging_changes_no_score() -> None:
    scores: list[Tensor] = []

    class Before(StrategyPlugin):
        def after_training_epoch(self, learner: Learner, **_: object) -> None:
            with torch.no_grad():
                scores.append(learner.model.eval()(images(0, 0)).logits)  # type: ignore[arg-type]

    benchmark = toy_benchmark(TIL, 1)
    learner = toy_learner(benchmark, {OWNER: small(adapters="merged"), "before": Before()}, iterations=3)
    learner.train(benchmark.train[0])
    with torch.no_grad():
        torch.testing.assert_close(learner.model.eval()(images(0, 0)).logits, scores[0])
        assert not torch.allclose(scores[0], pretrained_clip()(images(0, 0)).logits)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_saved_is_all_there_is(mode: str) -> None:
    learner = trained(2, small(adapters=mode))
    tensors = model_tensors(learner.model, learner.untouched)
    benchmark = toy_benchmark(TIL, 2)
    again = toy_learner(benchmark, {OWNER: small(adapters=mode)})
    for experience in benchmark.train:
        again.meet(experience)
    again.untouched = restore_model(again.model, tensors)
    with torch.no_grad():
        assert torch.equal(again.model.eval()(images(0, 1)).logits, learner.model(images(0, 1)).logits)
    assert again.untouched == learner.untouched
    saved = {name for name in tensors if name.endswith("weight") and ".addons." not in name}
    assert bool(saved) is (mode == "merged")


def test_a_copy_has_adapters_of_its_own() -> None:
    benchmark = toy_benchmark(TIL, 2)
    learner = toy_learner(benchmark, {OWNER: small()}, iterations=3)
    learner.train(benchmark.train[0])
    copy = deepcopy(learner.model).eval()
    with torch.no_grad():
        before = copy(images(0, PLAIN)).logits
        learner.train(benchmark.train[1])
        for _, made in adapters(learner):
            made.layer.lora_B["0"].weight.add_(1.0)  # type: ignore[index,union-attr,operator]
        assert torch.equal(copy(images(0, PLAIN)).logits, before)
        assert not torch.equal(learner.model.eval()(images(0, PLAIN)).logits[0], before[0])


def test_where_the_task_is_hidden_somebody_has_to_find_the_way() -> None:
    hidden = Surroundings(CIL)
    with pytest.raises(CompositionError, match="chooses the way through the model") as refused:
        check_composition([small()], [OWNER], hidden)
    assert "ddas" in refused.value.remedy
    check_composition([small()], [OWNER], Surroundings(TIL))
    for order in ([small(), DDAS()], [DDAS(), small()]):
        check_composition(order, ["one", "two"], hidden)


def test_ddas_leads_rows_to_the_adapters_of_the_experience_that_it_finds() -> None:
    benchmark = toy_benchmark(CIL, 2)
    router = DDAS(weights="glyph", code=4, iterations=3, reference_iterations=3)
    learner = toy_learner(benchmark, {"ddas": router, OWNER: small()}, iterations=3)
    for experience in benchmark.train:
        learner.train(experience)
    batch = images(0, 1, 0, 1).replace(route=None)
    with torch.no_grad():
        found = learner.model.eval()(batch)
        assert found.route is not None
        given = learner.model(batch.replace(route=found.route))
    assert torch.equal(found.logits, given.logits)
    assert set(found.route.ids.tolist()) <= {PLAIN, 0, 1}


@pytest.mark.parametrize("order", [1, -1])
def test_experts_and_adapters_stand_side_by_side_whatever_their_order(order: int) -> None:
    benchmark = toy_benchmark(TIL, 2)
    pair = [("moe_adapters", MoEAdapters(experts=4, bottleneck=4)), (OWNER, small())]
    learner = toy_learner(benchmark, dict(pair[::order]), iterations=3)
    for experience in benchmark.train:
        learner.train(experience)
    with torch.no_grad():
        plain = pretrained_clip()(images(PLAIN, PLAIN)).logits
        assert torch.equal(learner.model.eval()(images(PLAIN, PLAIN)).logits, plain)
    assert all(bool(made.layer.lora_B["1"].weight.any()) for _, made in adapters(learner))  # type: ignore[index,union-attr]


@pytest.mark.parametrize("mode", MODES)
def test_what_the_user_has_frozen_has_no_adapters(mode: str) -> None:
    learner = trained(1, small(adapters=mode), freeze=("backbone.clip.visual*",))
    assert learner.model.backbone.adapted == {TEXT}
    pretrained = dict(MultimodalModel(tiny_clip()).named_parameters())
    found = weights(learner)
    assert all(torch.equal(found[name], value) for name, value in pretrained.items() if ".visual." in name)


def test_a_backbone_without_layers_that_may_change_is_refused() -> None:
    with pytest.raises(CompositionError, match="all 4 layers that it could adapt are frozen"):
        toy_learner(toy_benchmark(TIL, 1), {OWNER: small()}, freeze=("*.mlp.*",))


def test_three_hundred_adapters_are_found_by_name_and_cost_a_batch_only_those_it_takes() -> None:
    made = LowRank(nn.Linear(4, 5), SHAPE)
    for index in range(300):
        made.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    made.train_only(299)
    assert sum(parameter.requires_grad for parameter in made.parameters()) == 2
    with torch.no_grad():
        for index in (7, 29, 299):  # no name is taken for one that begins like it
            made.layer.lora_B[str(index)].weight.fill_(index)  # type: ignore[index,union-attr,operator]
    called: list[nn.Module] = []
    for part in made.layer.lora_A.values():  # type: ignore[union-attr,operator]
        part.register_forward_hook(lambda module, *_: called.append(module))
    x = torch.ones(4, 2, 4)
    found = passed(made.eval(), x, 299, 7, 2, 29)
    for row, way in enumerate((299, 7, 2, 29)):
        A = made.layer.lora_A[str(way)].weight  # type: ignore[index,union-attr]
        expected = 1 + 3.0 * (x[row] @ A.T).sum(-1, keepdim=True) * (0 if way == 2 else way)  # type: ignore[union-attr]
        torch.testing.assert_close(found[row], expected.expand(2, 5).detach())
    assert len(called) == 4
