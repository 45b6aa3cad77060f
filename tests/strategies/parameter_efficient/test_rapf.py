"""A linear layer learns all classes on frozen features, old ones as Gaussians, and is fused with what it was."""

import io
from copy import deepcopy
from typing import Any

import pytest
import torch
from mmcl_strategies.baselines.finetune import Finetune
from mmcl_strategies.parameter_efficient.linear_adapter import LinearAdapter
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.parameter_efficient.rapf import OWNER, RAPF
from mmcl_strategies.parameter_efficient.singular_fusion import singularly_fused
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.shared.drawn_features import Drawn, loss_of_drawn
from torch import Tensor, nn
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.samples import Raw, rewritten

EVERY_PAIR = 2.1  # a threshold above any distance
EXPERIENCES = 3


class Watch(StrategyPlugin):
    """Notes terms, the layer after the last step, and modes."""

    def __init__(self) -> None:
        self.terms: list[dict[str, float]] = []
        self.trained: list[Tensor] = []
        self.training: set[bool] = set()
        self.seen_rates: set[float] = set()

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.training |= {module.training for module in learner.model.backbone.clip.modules()}  # type: ignore[union-attr]
        self.seen_rates |= {group["lr"] for group in learner.optimizer.param_groups}

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.terms.append({name: float(value.detach()) for name, value in learner.loss_terms.items()})

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.trained.append(weight_of(learner).detach().clone())


def begun(stream: Benchmark, others: dict[str, StrategyPlugin] | None = None, **options: Any) -> Learner:
    training = {name: options.pop(name) for name in ("iterations", "epochs", "batch_size") if name in options}
    training = {"iterations": 3, **training} if "epochs" not in training else training
    strategies = {**(others or {}), OWNER: RAPF(**{"beta": 0.3, **options})}
    return toy_learner(stream, strategies, schedule="constant", warmup=0, device="cpu", **training)


def learned(scenario: Scenario = CIL, count: int = EXPERIENCES, **options: Any) -> tuple[Learner, Watch]:
    stream, watch = toy_benchmark(scenario, count), Watch()
    learner = begun(stream, {"watch": watch}, **options)
    for experience in stream.train:
        learner.train(experience)
    return learner, watch


def adapter_of(learner: Learner) -> LinearAdapter:
    (adapter,) = (module for module in learner.model.modules() if isinstance(module, LinearAdapter))
    return adapter


def weight_of(learner: Learner) -> nn.Parameter:
    return adapter_of(learner).layer.weight  # type: ignore[return-value]


def strategy_of(learner: Learner) -> RAPF:
    strategy = learner.strategies[OWNER]
    assert isinstance(strategy, RAPF)
    return strategy


def batch(learner: Learner, ids: tuple[int, ...] | None = None) -> Inputs:
    """Two samples of each experience."""
    samples = [experience.samples for experience in toy_benchmark(learner.scenario, EXPERIENCES).test]
    images = torch.cat([of_one.values[IMAGE][[0, -1]] for of_one in samples])  # type: ignore[attr-defined]
    space, _ = learner.classes_of(range(len(learner.seen))) if learner.seen else (samples_space(), None)
    present = {IMAGE: torch.ones(len(images), dtype=torch.bool)}
    return Inputs(
        {IMAGE: images}, present, asked=Asked(space), route=None if ids is None else Route.given(torch.tensor(ids))
    )


def samples_space() -> Any:
    return toy_benchmark(CIL, EXPERIENCES).label_space


def scores(model: MultimodalModel, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        found = model.predict(inputs).logits
    assert found is not None
    return found


def plain_clip() -> MultimodalModel:
    return MultimodalModel(tiny_clip()).requires_grad_(False).eval()


# The layer, and who passes it.


def test_the_plain_way_is_plain_clip_bit_for_bit_and_so_are_all_before_the_first_experience() -> None:
    learner, _ = learned()
    model, inputs = learner.model.eval(), batch(learner, (PLAIN,) * 6)
    assert torch.equal(scores(model, inputs), scores(plain_clip(), inputs.replace(route=None)))
    weak = inputs.replace(route=Route(torch.arange(6), torch.zeros(6)))
    assert torch.equal(scores(model, weak), scores(plain_clip(), inputs.replace(route=None)))
    fresh = begun(toy_benchmark(CIL, EXPERIENCES))
    assert torch.equal(scores(fresh.model.eval(), batch(fresh)), scores(plain_clip(), batch(fresh)))


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    learner, _ = learned()
    model, inputs = learner.model.eval(), batch(learner, (0, PLAIN, 2, 1, PLAIN, 0))
    alone = [scores(model, inputs.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(scores(model, inputs), torch.cat(alone))


def test_answers_are_cosines_of_names_and_of_adapted_features_that_had_any_length() -> None:
    learner, _ = learned()
    model, inputs = learner.model.eval(), batch(learner)
    with torch.no_grad():
        plain = plain_clip().encode(inputs.replace(route=None)).features[IMAGE]
        text = functional.normalize(plain_clip().head.text_features(inputs.asked.label_space), dim=1)  # type: ignore[operator]
        expected = (
            plain_clip().backbone.logit_scale * functional.normalize(plain @ weight_of(learner).T, dim=1) @ text.T
        )
    assert (plain.norm(dim=1) - 1).abs().min() > 0.05
    torch.testing.assert_close(scores(model, inputs), expected)
    with torch.no_grad():
        assert torch.equal(model.predict(inputs).route.ids, torch.full((6,), EXPERIENCES - 1))  # type: ignore[union-attr]


def test_nothing_but_the_layer_changes() -> None:
    stream = toy_benchmark(CIL, EXPERIENCES)
    learner = begun(stream, threshold=EVERY_PAIR)
    for experience in stream.train:
        learner.meet(experience)
        before = weights(learner)
        learner.train(experience)
        moved = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
        assert moved == {"backbone.clip.visual.addons.rapf.layer.weight"}
        assert [p for group in learner.optimizer.param_groups for p in group["params"]] == [weight_of(learner)]


def test_the_network_is_in_evaluation_mode_while_the_layer_learns() -> None:
    assert learned()[1].training == {False}


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_the_layer_has_a_rate_of_its_own_unless_it_is_told_not_to(lr: float | None, rate: float) -> None:
    assert learned(lr=lr)[1].seen_rates == {rate}


# What is kept of a class.


def test_gaussians_are_those_of_frozen_features_that_no_layer_has_changed() -> None:
    stream = toy_benchmark(CIL, 2)
    learner, _ = learned(count=2, lr=0.5)
    state, place = strategy_of(learner).state, 0
    for experience in stream.train:
        (whole,) = learner.one_pass(experience.samples, 100)
        with torch.no_grad():
            features = plain_clip().encode(whole.inputs).features[IMAGE].double()
        for id_ in experience.label_space.ids:
            own = features[whole.targets == id_]
            assert (state.task_ids[place], state.targets[place]) == (experience.index, id_)
            torch.testing.assert_close(state.means[place], own.mean(0))
            torch.testing.assert_close(state.covariances[place], own.T.cov() + 1e-4 * torch.eye(16).double())
            place += 1
    assert place == len(state.means) == len(state.covariances) == 4
    assert state.means[0].norm() > 1.05


def test_gaussians_are_those_of_plain_images_although_training_shows_augmented_ones() -> None:
    found = []
    for stream in (toy_benchmark(CIL, 1), toy_benchmark(CIL, 1)):
        whole = rewritten(stream, lambda samples, *_: Raw(samples))
        learner = begun(whole, iterations=1 + len(found))
        learner.train(whole.train[0])
        found.append(strategy_of(learner).state.means)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_jitter_is_the_least_variance_of_a_class() -> None:
    wide = strategy_of(learned(count=1, jitter=0.5)[0]).state.covariances[0]
    narrow = strategy_of(learned(count=1)[0]).state.covariances[0]
    torch.testing.assert_close(wide - narrow, (0.5 - 1e-4) * torch.eye(16).double())


def test_old_gaussians_stay_and_what_is_kept_grows_with_the_classes_alone() -> None:
    stream = toy_benchmark(CIL, EXPERIENCES)
    learner, kept = begun(stream), list[Tensor]()
    for experience in stream.train:
        learner.train(experience)
        state = strategy_of(learner).state
        assert all(torch.equal(old, now) for old, now in zip(kept, state.means, strict=False))
        assert len(state.means) == 2 * (experience.index + 1)
        kept = [mean.clone() for mean in state.means]


# What is replayed.


class Rows:
    """Notes what is drawn, and draws it."""

    def __init__(self, strategy: RAPF) -> None:
        self.drawn: list[tuple[str, int]] = []
        self.orders: list[tuple[int, list[int]]] = []
        noise, shuffled = strategy._noise, strategy._shuffled

        def noting(learner: Learner, purpose: str, rows: int, width: int) -> Tensor:
            self.drawn.append((purpose, rows))
            return noise(learner, purpose, rows, width)

        def ordering(learner: Learner, epoch: int, count: int) -> Any:
            self.orders.append((epoch, list(shuffled(learner, epoch, count))))
            return self.orders[-1][1]

        strategy._noise, strategy._shuffled = noting, ordering


def test_a_batch_replays_a_few_classes_and_every_pair_has_twice_their_rows() -> None:
    stream = toy_benchmark(CIL, 2)
    learner = begun(stream, beta=0.38, old_classes=3, threshold=EVERY_PAIR)
    rows = Rows(strategy_of(learner))
    for experience in stream.train:
        learner.train(experience)
    # int(3.8) rows of each of 3 classes, although there are only 2; int(7.6) of 2 old classes with 2 new ones
    assert rows.drawn == [("replay", 3 * 3), ("hinge", 4 * 7)] * 3


def test_classes_take_turns_in_an_order_that_every_epoch_draws_anew_and_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = toy_benchmark(CIL, 6)
    learner = begun(stream, epochs=6, batch_size=6, threshold=0.0)  # 3 batches an epoch, of 16 samples
    seen: list[list[int]] = []

    def noting(learner: Learner, drawn: Drawn, task_ids: Any) -> Tensor:
        seen.append(drawn.targets[::3].tolist())
        return loss_of_drawn(learner, drawn, task_ids)

    monkeypatch.setattr("mmcl_strategies.parameter_efficient.rapf.loss_of_drawn", noting)
    for experience in stream.train[:5]:
        learner.train(experience)
    rows = Rows(strategy_of(learner))
    seen.clear()
    learner.train(stream.train[5])  # 10 old classes, 2 in a batch
    orders = dict(rows.orders)
    assert sorted(orders) == list(range(6))
    assert len({tuple(order) for order in orders.values()}) == 6
    assert all(sorted(order) == list(range(10)) for order in orders.values())
    for epoch, order in orders.items():
        assert seen[3 * epoch : 3 * epoch + 3] == [order[0:2], order[2:4], order[4:6]]


def test_one_old_class_is_replayed_as_often_as_two_would_be() -> None:
    stream = toy_benchmark(CIL, 2, classes=1)
    learner = begun(stream, threshold=0.0)
    rows = Rows(strategy_of(learner))
    for experience in stream.train:
        learner.train(experience)
    assert rows.drawn == [("replay", 2 * 3)] * 3


def test_draws_are_of_the_class_that_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, drawn_rows = toy_benchmark(CIL, 3), list[Drawn]()

    def noting(learner: Learner, drawn: Drawn, task_ids: Any) -> Tensor:
        drawn_rows.append(drawn)
        return loss_of_drawn(learner, drawn, task_ids)

    monkeypatch.setattr("mmcl_strategies.parameter_efficient.rapf.loss_of_drawn", noting)
    learner = begun(stream, threshold=0.0, beta=400.0, iterations=1)
    for experience in stream.train:
        before = weight_of(learner).detach().clone()
        learner.train(experience)
    (drawn, state) = drawn_rows[-1], strategy_of(learner).state
    assert len(drawn.targets) == 2 * 4000
    for id_ in drawn.targets.unique().tolist():
        own = drawn.features[IMAGE][drawn.targets == id_].detach()
        assert set(drawn.task_ids[drawn.targets == id_].tolist()) == {id_ // 2}
        torch.testing.assert_close(own.mean(0), before @ state.means[id_].float(), rtol=0, atol=0.05)
        spread = before @ state.covariances[id_].float() @ before.T
        torch.testing.assert_close(own.T.cov(), spread, rtol=0, atol=0.1 * float(spread.abs().max()))


def test_shrinkage_widens_what_is_drawn_and_not_what_is_kept() -> None:
    spreads = {}
    for shrinkage in (False, True):
        learner, _ = learned(count=2, shrinkage=shrinkage)
        covariance = strategy_of(learner).state.covariances[0]
        factor = strategy_of(learner)._factors[0].double()
        spreads[shrinkage] = (covariance, factor @ factor.T)
    assert torch.equal(spreads[False][0], spreads[True][0])
    torch.testing.assert_close(*spreads[False], rtol=1e-4, atol=1e-6)
    kept, wide = spreads[True]
    torch.testing.assert_close(wide.diagonal(), kept.diagonal() + kept.diagonal().mean(), rtol=1e-4, atol=1e-6)


def test_replay_keeps_what_was_learned() -> None:
    """The same steps with and without it; two classes, the second of which comes alone."""
    scored = {}
    for beta in (0.1, 20.0):
        stream = toy_benchmark(CIL, 2, classes=1, per_class=24)
        learner = begun(stream, beta=beta, iterations=60, lr=0.01, mix_bias=1.0, threshold=0.0, batch_size=24)
        for experience in stream.train:
            learner.train(experience)
        (whole,) = learner.one_pass(stream.test[0].samples, 100)
        space, _ = learner.classes_of([0, 1])
        whole.inputs.asked = Asked(space)
        scored[beta] = float(
            (scores(learner.model.eval(), whole.inputs.with_task_ids(None)).argmax(1) == 0).float().mean()
        )
    assert scored[20.0] >= scored[0.1]
    assert scored[20.0] == 1.0


# What is pushed away.


def test_only_old_classes_whose_names_are_close_to_a_new_one_are_pairs() -> None:
    stream = toy_benchmark(CIL, 2)
    with torch.no_grad():
        text = plain_clip().head.text_features(stream.label_space.for_training)  # type: ignore[operator]
    distances = (text[:2].unsqueeze(1) - text[2:]).norm(dim=2)
    threshold = float(distances.flatten().sort().values[:2].mean())  # only the nearest two are closer
    learner, watch = learned(count=2, threshold=threshold)
    k, j = divmod(int(distances.argmin()), 2)
    assert strategy_of(learner)._pairs == [(k, 2 + j)]
    assert ["rapf/hinge" in terms for terms in watch.terms] == [False] * 3 + [True] * 3
    for none in (0.0, float(distances.min()) * 0.99):
        learner, watch = learned(count=2, threshold=none)
        assert strategy_of(learner)._pairs == []
        assert all("rapf/hinge" not in terms for terms in watch.terms)


def test_the_margin_is_that_of_the_option() -> None:
    hinges = [learned(count=2, threshold=EVERY_PAIR, margin=margin)[1].terms[3]["rapf/hinge"] for margin in (3.0, 3.5)]
    assert hinges[1] - hinges[0] == pytest.approx(0.5, abs=1e-5)


# What is fused.


def test_the_layer_is_fused_from_the_second_experience_on() -> None:
    stream, watch = toy_benchmark(CIL, EXPERIENCES), Watch()
    learner, handed_over = begun(stream, {"watch": watch}, mix_bias=0.2, lr=0.05), list[Tensor]()
    for experience in stream.train:
        learner.train(experience)
        handed_over.append(weight_of(learner).detach().clone())
    assert torch.equal(handed_over[0], watch.trained[0])
    for t in (1, 2):
        expected = singularly_fused(handed_over[t - 1], watch.trained[t], 0.2)
        assert torch.equal(handed_over[t], expected)
        assert not torch.allclose(handed_over[t], watch.trained[t])


def test_with_a_bias_of_one_the_trained_layer_is_handed_over() -> None:
    learner, watch = learned(mix_bias=1.0)
    torch.testing.assert_close(weight_of(learner).detach(), watch.trained[-1])


# Scenarios and company.


def test_a_class_that_returns_has_a_gaussian_for_each_experience_and_is_not_new() -> None:
    learner, watch = learned(DIL, threshold=EVERY_PAIR)
    state = strategy_of(learner).state
    assert list(zip(state.task_ids, state.targets, strict=True)) == [(t, c) for t in range(3) for c in range(2)]
    assert all("rapf/hinge" not in terms for terms in watch.terms)


def test_in_til_a_draw_competes_among_the_classes_of_its_own_experience() -> None:
    learner, watch = learned(TIL, threshold=EVERY_PAIR)
    assert all("rapf/hinge" not in terms for terms in watch.terms)
    features = torch.eye(16)[:2]
    drawn = Drawn(
        {IMAGE: features}, {IMAGE: torch.ones(2, dtype=torch.bool)}, torch.tensor([1, 2]), torch.tensor([0, 1])
    )
    text = learner.model.head.text_features(learner.classes_of([0, 1])[0]).detach()  # type: ignore[operator]
    logits = learner.model.backbone.logit_scale * features @ text.T
    expected = (
        functional.cross_entropy(logits[:1, :2], torch.tensor([1]))
        + functional.cross_entropy(logits[1:, 2:], torch.tensor([0]))
    ) / 2
    torch.testing.assert_close(loss_of_drawn(learner, drawn, [0, 1]).detach(), expected)


def test_company_that_trains_what_features_come_from_is_refused() -> None:
    stream = toy_benchmark(TIL, 1)
    learner = begun(stream, {"moe_adapters": MoEAdapters(experts=2, bottleneck=2)})
    with pytest.raises(CompositionError, match=r"'rapf'.*something beside it trains .*moe_adapters"):
        learner.train(stream.train[0])


def test_it_learns_beside_a_memory_and_beside_nothing_at_all() -> None:
    for other in (Replay(size=4), Finetune()):
        stream = toy_benchmark(CIL, 2)
        learner = begun(stream, {"other": other})
        for experience in stream.train:
            learner.train(experience)
        assert bool(learner.loss.isfinite())


def test_a_backbone_that_does_not_show_its_features_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match=r"'rapf'.*tower 'image' shows no site of kind 'pooled'"):
        toy_learner(toy_benchmark(CIL, 1), {OWNER: RAPF()}, backbone=backbone)


@pytest.mark.parametrize(
    "options", [{"beta": 0.09}, {"mix_bias": 1.5}, {"threshold": -1.0}, {"jitter": 0.0}, {"old_classes": 0}]
)
def test_a_wrong_choice_is_refused_where_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"rapf.{next(iter(options))}"):
        RAPF(**options)


# Time.


def test_two_hundred_experiences_are_learned_and_each_class_keeps_its_gaussian() -> None:
    stream = toy_benchmark(CIL, 200, classes=1, per_class=2)
    learner = begun(stream, iterations=1, threshold=0.0)
    for experience in stream.train:
        learner.train(experience)
    state = strategy_of(learner).state
    assert state.targets == state.task_ids == list(range(200))
    assert bool(learner.loss.isfinite())


def test_a_run_that_was_interrupted_gives_the_same_weights() -> None:
    stream = toy_benchmark(CIL, EXPERIENCES)
    through = begun(stream, threshold=EVERY_PAIR)
    for experience in stream.train[:2]:
        through.train(experience)
    stored = io.BytesIO()
    torch.save(strategy_of(through).state_dict(), stored)
    tensors = deepcopy(model_tensors(through.model, ()))
    through.train(stream.train[2])

    torch.manual_seed(99)
    resumed = begun(stream, threshold=EVERY_PAIR)
    for experience in stream.train[:2]:
        resumed.meet(experience)
    restore_model(resumed.model, tensors)
    stored.seek(0)
    strategy_of(resumed).load_state_dict(torch.load(stored, weights_only=True))
    resumed.train(stream.train[2])
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(through).items())


def test_it_trains_in_half_precision() -> None:
    stream = toy_benchmark(CIL, 2)
    learner = toy_learner(stream, {OWNER: RAPF(threshold=EVERY_PAIR, beta=0.3)}, precision="bf16", device="cpu")
    for experience in stream.train:
        learner.train(experience)
    assert {value.dtype for value in learner.loss_terms.values()} == {torch.float32}
    assert set(learner.loss_terms) == {"task", "rapf/hinge"}
