"""A pool of prompts is shared by all experiences, and a frozen feature chooses among them."""

from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.l2p import L2P
from mmcl_strategies.parameter_efficient.prompt_pool import PromptPool, mean_of_prompts
from mmcl_strategies.routing.queries import Queries
from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import LinearHead
from mmcl.models.plain import PlainBackbone
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

from .pools import (
    CLASSES,
    assert_a_mixed_batch_equals_its_rows,
    assert_plain_rows_are_those_of_the_pretrained_model,
    begun,
    features,
    images,
    learned,
    moved,
    plain_features,
)

SMALL: dict[str, Any] = {"size": 4, "length": 2, "top_k": 2, "lr": 0.05}


def l2p(**options: Any) -> L2P:
    return L2P(**{**SMALL, **options})


@cache
def shared(scenario: Scenario = CIL) -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned(l2p(), scenario=scenario)


def pool_of(learner: Learner) -> PromptPool:
    (pool,) = [module for module in learner.model.modules() if isinstance(module, PromptPool)]
    return pool


def units_of(learner: Learner) -> LinearHead:
    assert isinstance(learner.model.head, LinearHead)
    return learner.model.head


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    assert_plain_rows_are_those_of_the_pretrained_model(shared())


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    assert_a_mixed_batch_equals_its_rows(shared())


def test_nothing_pretrained_moves_and_all_that_is_added_does() -> None:
    learner, stream = begun(l2p())
    for experience in stream.train:
        before = weights(learner)
        learner.train(experience)
        found = moved(learner, before)
        assert {name.rpartition(".")[2] for name in found if "l2p" in name} == {"keys", "prompts"}
        assert all("addons.l2p" in name or name.startswith("head.") for name in found)


def test_units_of_earlier_classes_neither_compete_nor_move() -> None:
    learner, stream = begun(l2p())
    learner.train(stream.train[0])
    old = {name: value.clone() for name, value in units_of(learner).state_dict().items()}
    learner.train(stream.train[1])
    for name, value in units_of(learner).state_dict().items():
        assert torch.equal(value[:CLASSES], old[name])
        assert len(value) == 2 * CLASSES


class Losses(StrategyPlugin):
    """Notes the task loss, after it has spoilt the units of the first experience."""

    def __init__(self, bias: float) -> None:
        self.bias = bias
        self.tasks: list[float] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        if learner.current.index:
            with torch.no_grad():
                units_of(learner).bias[:CLASSES] = self.bias

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.tasks.append(float(learner.loss_terms["task"].detach()))


@pytest.mark.parametrize("own", [False, True])
def test_the_loss_does_not_depend_on_the_units_of_earlier_classes(own: bool) -> None:
    found = []
    for bias in (0.0, 50.0):
        losses, stream = Losses(bias), toy_benchmark(CIL, 2)
        learner = toy_learner(stream, {"l2p": l2p(), "losses": losses}, own_classes=own)
        for experience in stream.train:
            learner.train(experience)
        found.append(losses.tasks)
    assert found[0] == found[1]
    assert len(set(found[0])) == 8


def test_old_samples_in_a_batch_have_their_own_classes() -> None:
    learner, stream = begun(l2p())
    for experience in stream.train[:2]:
        learner.train(experience)
    batch = learner.prepare(stream.train[0].samples, range(3)).followed_by(
        learner.prepare(stream.train[1].samples, range(3))
    )
    learner.mbatch = batch
    learner.consider(batch)
    learner.mb_output = learner.forward()
    logits = learner.output.logits
    assert logits is not None
    rows = [logits[:3, :CLASSES], logits[3:, CLASSES:]]
    expected = torch.stack([torch.nn.functional.cross_entropy(part, torch.zeros(3).long()) for part in rows]).mean()
    strategy = learner.strategies["it"]
    torch.testing.assert_close(strategy.objective(learner), expected)


def test_the_query_is_the_plain_feature_whatever_the_prompts_are() -> None:
    learner = learned(l2p())
    bare = plain_features(images())
    for _ in range(2):
        route = learner.model.encode(images()).route
        assert route is not None
        assert route.query is not None
        assert torch.equal(route.query, bare)
        with torch.no_grad():
            pool_of(learner).prompts.normal_()


def test_the_query_has_no_gradient_even_if_the_backbone_is_trained() -> None:
    learner = learned(l2p())
    learner.model.backbone.requires_grad_(True)
    for known in (None, torch.zeros(6).long()):
        route = learner.model.encode(images().with_task_ids(known)).route
        assert route is not None
        assert route.query is not None
        assert not route.query.requires_grad


def test_the_pull_reaches_keys_alone_and_the_loss_of_the_task_prompts_and_units_alone() -> None:
    class Gradients(StrategyPlugin):
        def __init__(self) -> None:
            self.reached: dict[str, set[str]] = {}

        def before_backward(self, learner: Learner, **_: object) -> None:
            named = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
            for term, value in learner.loss_terms.items():
                found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
                reached = {n.rpartition(".")[2] for n, g in zip(named, found, strict=True) if g is not None and g.any()}
                self.reached.setdefault(term, set()).update(reached)

    gradients, stream = Gradients(), toy_benchmark(CIL, 1)
    toy_learner(stream, {"l2p": l2p(), "gradients": gradients}).train(stream.train[0])
    assert gradients.reached == {"task": {"prompts", "weight", "bias"}, "l2p/pull": {"keys"}}


def test_features_are_the_mean_of_the_outputs_at_the_prompts() -> None:
    learner = shared()
    visual: Any = learner.model.backbone.clip.visual  # type: ignore[union-attr]
    outputs: list[Tensor] = []
    handle = visual.transformer.register_forward_hook(lambda *arguments: outputs.append(arguments[2]))
    batch = images((0,) * 6)
    found = features(learner, batch)
    handle.remove()
    assert outputs[0].shape[1] == 1 + 2 * 2 + 4
    norm = nn.functional.layer_norm(outputs[0], (32,), visual.ln_post.weight, visual.ln_post.bias)
    torch.testing.assert_close(found, norm[:, 1:5].mean(1) @ visual.proj)


def test_prompts_stand_behind_the_class_token_in_the_order_of_their_cosines() -> None:
    learner = learned(l2p())
    pool, visual = pool_of(learner), learner.model.backbone.clip.visual  # type: ignore[union-attr]
    entered: list[Tensor] = []
    visual.ln_pre.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))  # type: ignore[union-attr]
    batch = images((0,) * 6)
    features(learner, batch.replace(route=Route.plain(6)))
    features(learner, batch)
    plain, found = entered
    cosines = nn.functional.cosine_similarity(plain_features(batch).unsqueeze(1), pool.keys.unsqueeze(0), dim=2)
    first = cosines.argsort(1, descending=True)[:, :2]
    assert torch.equal(found[:, 1:5], pool.prompts[first].reshape(6, 4, 32))
    assert torch.equal(torch.cat([found[:, :1], found[:, 5:]], 1), plain)


def test_each_row_chooses_alone_unless_the_batch_does() -> None:
    chosen = []
    for batchwise in (False, True):
        pool = pool_of(learned(l2p(batchwise=batchwise), experiences=1))
        with torch.no_grad():
            pool.keys.copy_(torch.eye(16)[:4])
        query = torch.zeros(4, 16)
        query[:3, :2], query[3, 2:4] = torch.tensor([2.0, 1.0]), torch.tensor([2.0, 1.0])
        chosen.append(pool.chosen(query).tolist())
    assert chosen == [[[0, 1]] * 3 + [[2, 3]], [[0, 1]] * 4]


@pytest.mark.parametrize("batchwise", [False, True])
def test_a_run_says_if_prompts_were_chosen_by_batches(batchwise: bool) -> None:
    router = learned(l2p(batchwise=batchwise), experiences=1).model.router
    assert isinstance(router, Queries)
    assert router.granularity == ("batch" if batchwise else "stream")


def test_before_anything_is_learned_every_way_is_plain_and_then_that_of_the_latest() -> None:
    learner, stream = begun(l2p())
    ways = []
    for experience in [None, *stream.train[:2]]:
        if experience is not None:
            learner.train(experience)
        route = learner.model.encode(images()).route
        assert route is not None
        ways.append(Counter(route.ids.tolist()))
    assert ways == [{PLAIN: 6}, {0: 6}, {1: 6}]


def test_rows_without_an_image_are_plain() -> None:
    learner = shared()
    batch = images()
    batch = batch.replace(present={IMAGE: torch.tensor([True, False, True, True, True, True])})
    route = learner.model.encode(batch).route
    assert route is not None
    assert route.taken.tolist() == [True, False, True, True, True, True]


def test_where_the_experience_is_known_answers_are_the_same() -> None:
    told, hidden = shared(TIL), shared()
    for task in range(3):
        known = images().with_task_ids(torch.full((6,), task))
        torch.testing.assert_close(features(told, known), features(told, images()))
    torch.testing.assert_close(features(told, images()), features(hidden, images()))


class Modes(StrategyPlugin):
    """Notes modes and rates."""

    def __init__(self) -> None:
        self.training: set[bool] = set()
        self.seen: set[float] = set()

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.training |= {module.training for module in learner.model.backbone.modules()}
        self.seen |= {group["lr"] for group in learner.optimizer.param_groups}


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_all_that_is_trained_has_the_rate_of_the_option_and_the_network_is_in_evaluation_mode(
    lr: float | None, rate: float
) -> None:
    modes, stream = Modes(), toy_benchmark(CIL, 1)
    toy_learner(stream, {"l2p": l2p(lr=lr), "modes": modes}, schedule="constant", warmup=0).train(stream.train[0])
    assert modes.training == {False}
    assert modes.seen == {rate}


def test_without_a_weight_there_is_no_pull() -> None:
    learner, stream = begun(l2p(pull=0.0), experiences=1)
    start = pool_of(learner).keys.detach().clone()
    learner.train(stream.train[0])
    assert set(learner.loss_terms) == {"task"}
    assert torch.equal(pool_of(learner).keys, start)


def test_keys_and_prompts_begin_uniform_between_minus_one_and_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = PromptPool(20, 10, 20, 40, top_k=1)
    for part in (pool.keys.detach(), pool.prompts.detach()):
        assert 0.98 < float(part.max()) <= 1.0
        assert -1.0 <= float(part.min()) < -0.98
        assert float(part.std()) == pytest.approx(3**-0.5, rel=0.05)


def test_only_the_first_output_is_replaced() -> None:
    outputs = torch.arange(10.0).reshape(1, 5, 2)
    found = mean_of_prompts(outputs, 3)
    assert found[0, 0].tolist() == [4.0, 5.0]
    assert torch.equal(found[:, 1:], outputs[:, 1:])


def test_more_prompts_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"l2p\.top_k: 3, and there are 2 prompts"):
        L2P(size=2, top_k=3)


def test_a_backbone_that_does_not_show_its_tokens_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'tokens'"):
        toy_learner(toy_benchmark(CIL), {"l2p": l2p()}, backbone=backbone)
