"""Prompts are chosen by two keys, and move only where they may."""

from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.maths.subspaces import extended, inside, moment, outside
from mmcl_strategies.parameter_efficient.bimodal_pool import BimodalPool
from mmcl_strategies.parameter_efficient.fwd_prompt import FwdPrompt
from mmcl_strategies.parameter_efficient.prompts import behind_class_token
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, weights

from .pools import SPACE, features, images, moved, plain_features

SMALL: dict[str, Any] = {"size": 4, "length": 2, "top_k": 2, "lr": 0.05, "samples": 16, "energy": 0.6}
BOTH = frozenset({IMAGE, TEXT})
MODES = ("both", "residual", "pretrained")


def begun(
    experiences: int = 3, others: dict[str, StrategyPlugin] | None = None, texts: bool = False, **options: Any
) -> tuple[Learner, Benchmark]:
    stream = toy_benchmark(CIL, experiences, 2, modalities=(BOTH,) if texts else None)
    strategies = {"it": FwdPrompt(**{**SMALL, **options}), **(others or {})}
    return toy_learner(stream, strategies, schedule="constant", warmup=0, iterations=3, eval_batch_size=3), stream


def learned(**setting: Any) -> Learner:
    learner, stream = begun(**setting)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner


@cache
def shared() -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned()


def pool_of(learner: Learner) -> BimodalPool:
    (pool,) = [module for module in learner.model.modules() if isinstance(module, BimodalPool)]
    return pool


def asked(ids: tuple[int, ...], strength: float = 1.0) -> Inputs:
    """Pictures on these ways, with the query of the pre-trained model and none of a text."""
    inputs = images()
    query = torch.cat([plain_features(inputs), torch.zeros(6, 16)], 1)
    return inputs.replace(route=Route(torch.tensor(ids), torch.full((6,), strength), query))


def with_texts(present: list[bool]) -> Inputs:
    """The same pictures with questions, if they are there."""
    tokens = tiny_clip().tokenize([f"what {name}" for name in SPACE.names])
    inputs = images()
    there = torch.tensor(present)
    return inputs.replace(
        values={IMAGE: inputs[IMAGE], TEXT: tokens * there.unsqueeze(1)},
        present={IMAGE: inputs.present[IMAGE], TEXT: there},
    )


class Updates(StrategyPlugin):
    """Notes every change of the values with the bases of that moment; it comes behind the strategy."""

    def __init__(self) -> None:
        self.applied: list[tuple[Tensor, Tensor | None, Tensor | None]] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.before = pool_of(learner).prompts.detach().clone()

    def after_update(self, learner: Learner, **_: object) -> None:
        state = learner.strategies["it"].state
        change = pool_of(learner).prompts.detach().double() - self.before.double()
        self.applied.append((change, state.pretrained, state.memory))


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    bare = plain_features(images())
    assert torch.equal(features(shared(), asked((PLAIN,) * 6)), bare)
    assert torch.equal(features(shared(), asked((0,) * 6, strength=0.0)), bare)
    assert not torch.allclose(features(shared(), asked((0,) * 6)), bare)


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    batch = asked((0, PLAIN, 2, 1, PLAIN, 2))
    alone = [features(shared(), batch.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(features(shared(), batch), torch.cat(alone))


def test_nothing_pretrained_moves_and_all_that_is_added_does() -> None:
    learner, stream = begun(texts=True, projection="pretrained")
    for experience in stream.train:
        before = weights(learner)
        learner.train(experience)
        found = moved(learner, before)
        assert all("addons.fwd_prompt" in name for name in found)
        assert {name.rpartition(".")[2] for name in found} == {"image_keys", "text_keys", "prompts"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_applied_update_lies_where_it_may(mode: str, optimizer: str) -> None:
    updates, stream = Updates(), toy_benchmark(CIL, 3, 2)
    learner = toy_learner(
        stream,
        {"it": FwdPrompt(**{**SMALL, "projection": mode}), "updates": updates},
        schedule="constant",
        warmup=0,
        optimizer=optimizer,
        weight_decay=0.5,
    )
    for experience in stream.train:
        learner.train(experience)
    protected = 0
    for change, pretrained, memory in updates.applied:
        size = float(change.norm())
        assert size > 0
        assert (pretrained is None) == (mode == "residual")
        if memory is not None:
            protected += 1
            assert float(inside(change, memory).norm()) < 1e-5 * size
        if mode == "pretrained":
            assert pretrained is not None
            assert float(outside(change, pretrained).norm()) < 1e-5 * size
    assert protected == (0 if mode == "pretrained" else 8)


@pytest.mark.parametrize("mode", MODES)
def test_an_update_is_that_of_the_optimiser_projected(mode: str) -> None:
    """The gradient alone, and plain descent: the change is the rate times the projected gradient."""

    class Gradients(StrategyPlugin):
        def __init__(self) -> None:
            self.found: list[Tensor] = []

        def before_update(self, learner: Learner, **_: object) -> None:
            gradient = pool_of(learner).prompts.grad
            assert gradient is not None
            self.found.append(gradient.clone())

    updates, gradients, stream = Updates(), Gradients(), toy_benchmark(CIL, 2, 2)
    learner = toy_learner(
        stream,
        {"it": FwdPrompt(**{**SMALL, "projection": mode}), "updates": updates, "gradients": gradients},
        schedule="constant",
        warmup=0,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
    )
    for experience in stream.train:
        learner.train(experience)
    for (change, pretrained, memory), gradient in zip(updates.applied, gradients.found, strict=True):
        expected = -0.05 * gradient.double()
        expected = expected if pretrained is None else inside(expected, pretrained)
        expected = expected if memory is None else outside(expected, memory)
        torch.testing.assert_close(change, expected, rtol=1e-3, atol=2e-8)


def test_memory_stays_in_an_experience_and_grows_after_it_by_the_embeddings_of_its_samples() -> None:
    updates = Updates()
    learner, stream = begun(others={"updates": updates}, samples=1000)
    expected: Tensor | None = None
    for experience in stream.train:
        updates.applied.clear()
        learner.train(experience)
        for _, _, memory in updates.applied:
            assert (memory is None) == (expected is None)
            if memory is not None and expected is not None:
                torch.testing.assert_close(memory @ memory.T, expected @ expected.T)
        visual: Any = tiny_clip().eval().clip.visual
        seen: list[Tensor] = []
        visual.ln_pre.register_forward_pre_hook(lambda _, arguments, seen=seen: seen.append(arguments[0].detach()))
        visual(next(iter(learner.one_pass(experience.samples, 1000))).inputs[IMAGE])
        start = torch.empty(32, 0, dtype=torch.float64) if expected is None else expected
        expected = extended(start, moment(seen[0]), SMALL["energy"])
        memory = learner.strategies["it"].state.memory
        torch.testing.assert_close(memory @ memory.T, expected @ expected.T)


def test_the_pretrained_subspace_is_that_of_reference_images_and_never_changes() -> None:
    learner, stream = begun(samples=1000, pretrained_energy=0.9)
    assert stream.reference is not None
    found = []
    for experience in stream.train:
        learner.train(experience)
        found.append(learner.strategies["it"].state.pretrained.clone())
    assert all(torch.equal(one, found[0]) for one in found)
    visual: Any = tiny_clip().eval().clip.visual
    seen: list[Tensor] = []
    visual.ln_pre.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    for batch in learner.one_pass(stream.reference.images):
        visual(batch.inputs[IMAGE])
    rows = torch.cat(seen).flatten(0, 1).double()
    _, singular, right = torch.linalg.svd(rows, full_matrices=False)
    count = int((singular.square().cumsum(0) < 0.9 * singular.square().sum()).sum()) + 1
    torch.testing.assert_close(found[0] @ found[0].T, right[:count].T @ right[:count], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("mode", "names"), [("both", "pm"), ("residual", "m"), ("pretrained", "p")])
def test_each_mode_keeps_what_it_projects_by(mode: str, names: str) -> None:
    state = learned(experiences=1, projection=mode).strategies["it"].state
    assert (state.pretrained is not None) == ("p" in names)
    assert (state.memory is not None) == ("m" in names)


def test_values_stand_behind_the_class_token_in_the_order_of_both_cosines() -> None:
    learner = learned(texts=True)
    pool, visual = pool_of(learner), learner.model.backbone.clip.visual  # type: ignore[union-attr]
    entered: list[Tensor] = []
    visual.ln_pre.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))  # type: ignore[union-attr]
    batch = with_texts([True] * 6)
    with torch.no_grad():
        bare = MultimodalModel(tiny_clip()).eval().encode(batch)
        learner.model.encode(batch)
    cosines = sum(
        nn.functional.cosine_similarity(bare.features[name].unsqueeze(1), keys.unsqueeze(0), dim=2)
        for name, keys in ((IMAGE, pool.image_keys), (TEXT, pool.text_keys))
    )
    first = cosines.argsort(1, descending=True)[:, :2]  # type: ignore[union-attr]
    assert torch.equal(entered[-1][:, 1:5], pool.prompts[first].reshape(6, 4, 32))
    assert torch.equal(torch.cat([entered[-1][:, :1], entered[-1][:, 5:]], 1), entered[0])


@pytest.mark.parametrize("key", ["image_keys", "text_keys"])
def test_each_of_both_keys_decides(key: str) -> None:
    pool = BimodalPool(3, 1, 4, image=3, text=3, top_k=1, place=behind_class_token)
    with torch.no_grad():
        pool.image_keys.fill_(1.0)
        pool.text_keys.fill_(1.0)
        getattr(pool, key).copy_(torch.eye(3))
        query = torch.tensor([[0.0, 5.0, 0.0] * 2, [0.0, 0.0, 2.0] * 2])
        assert torch.equal(pool.of(query)[:, 0], pool.prompts[[1, 2], 0])


def test_a_sample_without_a_text_chooses_by_its_image_whoever_is_beside_it() -> None:
    learner = learned(texts=True)
    some = learner.model.encode(with_texts([True, False, True, False, True, False])).route
    alone = learner.model.encode(images()).route
    assert some is not None
    assert alone is not None
    assert some.query is not None
    assert alone.query is not None
    assert not bool(some.query[1::2, 16:].any())
    assert bool(some.query[::2, 16:].any(1).all())
    torch.testing.assert_close(some.query[1::2], alone.query[1::2])


def test_the_query_is_that_of_the_pretrained_model_without_a_gradient() -> None:
    learner = learned()
    learner.model.backbone.requires_grad_(True)
    for known in (None, torch.zeros(6).long()):
        route = learner.model.encode(images().with_task_ids(known)).route
        assert route is not None
        assert route.query is not None
        assert not route.query.requires_grad
        assert torch.equal(route.query[:, :16], plain_features(images()))


def test_the_pull_reaches_both_keys_and_the_loss_of_the_task_values_alone() -> None:
    class Gradients(StrategyPlugin):
        def __init__(self) -> None:
            self.reached: dict[str, set[str]] = {}

        def before_backward(self, learner: Learner, **_: object) -> None:
            named = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
            for term, value in learner.loss_terms.items():
                found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
                reached = {n.rpartition(".")[2] for n, g in zip(named, found, strict=True) if g is not None and g.any()}
                self.reached.setdefault(term, set()).update(reached)

    gradients = Gradients()
    learned(experiences=1, others={"gradients": gradients}, texts=True)
    assert gradients.reached == {"task": {"prompts"}, "it/pull": {"image_keys", "text_keys"}}


def test_without_a_weight_there_is_no_pull() -> None:
    assert set(learned(experiences=1, pull=0.0).loss_terms) == {"task"}


def test_the_network_is_in_evaluation_mode_and_what_is_trained_has_the_rate_of_the_option() -> None:
    class Modes(StrategyPlugin):
        def __init__(self) -> None:
            self.seen: set[float] = set()

        def before_forward(self, learner: Learner, **_: object) -> None:
            assert not any(module.training for module in learner.model.backbone.modules())
            self.seen |= {group["lr"] for group in learner.optimizer.param_groups}

    for lr, rate in ((0.5, 0.5), (None, 1e-3)):
        modes = Modes()
        learned(experiences=1, others={"modes": modes}, lr=lr)
        assert modes.seen == {rate}


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_samples_are_looked_at_than_the_option_says(count: int) -> None:
    learner = learned(experiences=1, samples=count, energy=0.999, pretrained_energy=0.999)
    state = learner.strategies["it"].state
    assert state.memory.shape[1] <= 5 * count
    assert state.pretrained.shape[1] <= 5 * count


def test_hundreds_of_experiences_are_learned_and_memory_ends_at_all_directions() -> None:
    stream = toy_benchmark(CIL, 200, 1, per_class=1)
    learner = toy_learner(stream, {"it": FwdPrompt(**{**SMALL, "energy": 0.9999})}, iterations=1)
    before = {name: value.shape for name, value in weights(learner).items()}
    for experience in stream.train:
        learner.train(experience)
    assert {name: value.shape for name, value in weights(learner).items()} == before
    assert learner.strategies["it"].state.memory.shape[1] <= 32


def test_values_and_keys_begin_as_the_page_says() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = BimodalPool(20, 10, 20, image=40, text=40, top_k=1, place=behind_class_token)
    for keys in (pool.image_keys.detach(), pool.text_keys.detach()):
        assert 0.98 < float(keys.max()) <= 1.0
        assert -1.0 <= float(keys.min()) < -0.98
    assert float(pool.prompts.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_more_values_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"fwd_prompt\.top_k: 3, and there are 2 entries"):
        FwdPrompt(size=2, top_k=3)


def test_reference_data_are_needed_unless_there_is_no_pretrained_subspace() -> None:
    stream = toy_benchmark(CIL, 1)
    stream.reference = None
    toy_learner(stream, {"it": FwdPrompt(**SMALL, projection="residual")}).train(stream.train[0])
    with pytest.raises(ConfigError, match=r"fwd_prompt\.reference"):
        toy_learner(stream, {"it": FwdPrompt(**SMALL)}).train(stream.train[0])


def test_pairs_are_refused_whose_images_would_know_their_captions() -> None:
    stream = toy_pairs(TIL)
    with pytest.raises(CompositionError, match="the experience 'pairs0' has no classes"):
        toy_learner(stream, {"it": FwdPrompt(**SMALL)}).train(stream.train[0])


def test_a_backbone_that_does_not_show_its_tokens_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'tokens'"):
        toy_learner(toy_benchmark(CIL), {"it": FwdPrompt()}, backbone=backbone)
