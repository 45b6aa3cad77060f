"""Feature replay's card: what is drawn, what it counts, and that the extractor stays where the features were taken."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, Drawn
from mmcl_strategies.pseudo_replay.feature_replay import FeatureReplay, drift
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.models import ImageTower


class Spy(StrategyPlugin):
    """Notes the terms of every step, and the loss that the model had on its batch alone."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        terms = {name: float(value.detach()) for name, value in learner.loss_terms.items()}
        self.steps.append(terms | {"own": float(learner.criterion().detach()), "sum": float(learner.loss.detach())})


class Network(Backbone):
    """A layer in place of a tower, on request with batch normalisation."""

    def __init__(self, normalisation: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16))
        if normalisation:
            self.layers.append(nn.BatchNorm1d(16))
        self.specs = {IMAGE: ModalitySpec((3, 32, 32))}
        self.towers = {IMAGE: Tower(self.layers, frozenset({IMAGE}), 16)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.layers(inputs[IMAGE]))

    def tokenize(self, texts: Any) -> Tensor:
        raise AssertionError("it reads no text")

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(1.0)

    def export(self, folder: Path) -> None:
        raise AssertionError("never exported")


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """Everything that is drawn."""
    found: list[Drawn] = []
    draw = ClassDensities.draw

    def noting(densities: ClassDensities, *arguments: Any) -> Drawn:
        found.append(draw(densities, *arguments))
        return found[-1]

    monkeypatch.setattr(ClassDensities, "draw", noting)
    return found


def learned(
    strategy: FeatureReplay,
    scenario: Scenario = CIL,
    experiences: int = 2,
    benchmark: Benchmark | None = None,
    **training: Any,
) -> tuple[Learner, list[list[dict[str, float]]]]:
    """The learner, and the terms of every step of every experience."""
    benchmark, spy, found = benchmark or toy_benchmark(scenario, experiences), Spy(), []
    learner = toy_learner(benchmark, {"feature_replay": strategy, "spy": spy}, **training)
    for experience in benchmark.train:
        spy.steps = []
        learner.train(experience)
        found.append(spy.steps)
    return learner, found


# What counts how much.


def test_the_first_experience_is_fine_tuning() -> None:
    benchmark = toy_benchmark(CIL)
    plain, other = toy_learner(benchmark), toy_learner(benchmark, {"feature_replay": FeatureReplay()})
    for learner in (plain, other):
        learner.train(benchmark.train[0])
    assert set(other.loss_terms) == {"task"}
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(plain).items())


def test_new_and_drawn_samples_count_by_the_number_of_their_classes() -> None:
    _, found = learned(FeatureReplay(), experiences=4)
    for k, steps in enumerate(found):
        for step in steps:
            assert step["task"] == pytest.approx(step["own"] / (k + 1), rel=1e-5)
            parts = step["task"] + step.get("feature_replay/replay", 0) + step.get("feature_replay/drift", 0)
            assert step["sum"] == pytest.approx(parts, rel=1e-5)


def uneven(*counts: int) -> Benchmark:
    """A class-incremental stream with so many classes in each experience."""
    whole, first, experiences = toy_benchmark(CIL, 1, classes=sum(counts)), 0, []
    for index, count in enumerate(counts):
        ids = range(first, first + count)
        rows = torch.isin(whole.experiences[0].train.targets, torch.tensor(ids))  # type: ignore[attr-defined]
        space = whole.label_space.restrict(ids)
        sides = [
            TensorSamples({IMAGE: side.values[IMAGE][rows]}, side.targets[rows], index)  # type: ignore[attr-defined]
            for side in (whole.experiences[0].train, whole.experiences[0].test)
        ]
        experiences.append(ExperienceData(f"part{index}", *sides, space, frozenset({IMAGE})))
        first += count
    return Benchmark(name="uneven", edition="toy", scenario=CIL, experiences=experiences, training=whole.training)


@pytest.mark.parametrize(
    ("counts", "factors"),
    [
        ((6, 2, 2), (0, 3, 4)),  # GFR's large first experience: n0 // n + t - 1
        ((2, 6, 2), (0, 1, 2)),  # a small first experience counts as one, where n0 // n would be 0
    ],
)
def test_unequal_experiences_count_as_the_code_of_gfr_has_it(counts: tuple[int, ...], factors: tuple[int, ...]) -> None:
    _, found = learned(FeatureReplay(), benchmark=uneven(*counts), iterations=1)
    assert [steps[0]["own"] / steps[0]["task"] for steps in found] == pytest.approx([k + 1 for k in factors], rel=1e-5)


def test_as_many_features_are_drawn_as_there_are_real_samples_and_anew_in_every_step(draws: list[Drawn]) -> None:
    learned(FeatureReplay(), iterations=6, batch_size=5)
    assert [len(drawn.targets) for drawn in draws] == [5, 5, 5, 1, 5, 5]
    assert len({float(drawn.features[IMAGE].sum()) for drawn in draws}) == 6


# The extractor.


def test_drift_is_one_norm_over_the_whole_batch() -> None:
    features, old = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(drift(features, old), (features - old).square().sum().sqrt())
    leaf = old.clone().requires_grad_()
    drift(leaf, old).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert not leaf.grad.any()  # where nothing has drifted yet the gradient is zero, not undefined


@pytest.mark.parametrize("strength", [1.0, 0.25])
@pytest.mark.parametrize(("counts", "factors"), [((2, 2, 2), (1, 2)), ((6, 2, 2), (3, 4))])
def test_a_trained_extractor_is_distilled_in_proportion_to_what_is_old(
    strength: float, counts: tuple[int, ...], factors: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``strength k |phi - phi_old|``, nothing in the first experience and at the first step of a later one."""
    norms: list[float] = []

    def noting(features: Tensor, old: Tensor) -> Tensor:
        norm = drift(features, old)
        norms.append(float(norm.detach()))
        return norm

    monkeypatch.setattr("mmcl_strategies.pseudo_replay.feature_replay.drift", noting)
    _, (first, *later) = learned(FeatureReplay(strength=strength), benchmark=uneven(*counts), iterations=2)
    assert all("feature_replay/drift" not in step for step in first)
    terms = [step["feature_replay/drift"] for steps in later for step in steps]
    expected = [strength * factors[step // 2] * norm for step, norm in enumerate(norms)]
    assert terms == pytest.approx(expected, rel=1e-5)
    assert all(before < 1e-5 < after for before, after in zip(norms[::2], norms[1::2], strict=True))


def test_without_distillation_features_drift_away_from_those_that_are_replayed() -> None:
    moved = {}
    for strength in (1e-6, 10.0):
        benchmark = toy_benchmark(CIL, 2)
        # the slope of a norm does not vanish where nothing has drifted: AdamW trembles there by its rate
        strategies = {"feature_replay": FeatureReplay(strength=strength)}
        learner = toy_learner(benchmark, strategies, iterations=30, lr=1e-4)
        learner.train(benchmark.train[0])
        before = features_of(learner, benchmark)
        learner.train(benchmark.train[1])
        moved[strength] = float((features_of(learner, benchmark) - before).norm())
    assert moved[10.0] < 0.1 * moved[1e-6]
    with pytest.raises(ConfigError, match=r"feature_replay.strength.*above 0"):
        FeatureReplay(strength=0.0)


@torch.no_grad()
def features_of(learner: Learner, benchmark: Benchmark) -> Tensor:
    """Of the first experience."""
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    return learner.model.eval().encode(batch.inputs).features[IMAGE]


def test_a_frozen_extractor_is_not_distilled_and_the_classifier_learns_from_draws() -> None:
    benchmark, scores = toy_benchmark(CIL, 3), {}
    for replays in (True, False):
        strategies: dict[str, StrategyPlugin] = {"feature_replay": FeatureReplay()} if replays else {}
        learner = toy_learner(benchmark, strategies, backbone=Network(), iterations=40, lr=3e-2, freeze=("backbone.*",))
        start = weights(learner)
        for experience in benchmark.train:
            learner.train(experience)
        assert all(torch.equal(v, start[name]) for name, v in weights(learner).items() if name.startswith("backbone"))
        assert set(learner.loss_terms) == {"task", "feature_replay/replay"} if replays else {"task"}
        scores[replays] = [learner.evaluate(test, Accuracy()) for test in benchmark.test]
    assert min(scores[True]) > 80
    assert min(scores[False]) < 20


def test_statistics_of_batches_are_those_of_the_first_experience() -> None:
    benchmark = toy_benchmark(CIL, 2)
    learner = toy_learner(benchmark, {"feature_replay": FeatureReplay()}, backbone=Network(normalisation=True))
    learner.train(benchmark.train[0])
    before = {name: value.clone() for name, value in learner.model.named_buffers()}
    learner.train(benchmark.train[1])
    assert float(before["backbone.layers.2.num_batches_tracked"]) > 0
    assert all(torch.equal(value, before[name]) for name, value in learner.model.named_buffers())
    assert learner.model.head.training


def test_it_trains_in_half_precision() -> None:
    learner, _ = learned(FeatureReplay(), precision="bf16")
    assert {value.dtype for value in learner.loss_terms.values()} == {torch.float32}
    assert bool(learner.loss.isfinite())


# The densities.


@pytest.mark.parametrize("tower", [None, ImageTower], ids=["clip", "dropout and batch statistics"])
def test_densities_are_of_raw_features_of_the_model_that_is_handed_over(tower: type[Backbone] | None) -> None:
    benchmark, strategy = toy_benchmark(CIL, 1), FeatureReplay()
    backbone = None if tower is None else tower()
    learner = toy_learner(benchmark, {"feature_replay": strategy}, lr=1e-2, backbone=backbone)
    learner.train(benchmark.train[0])
    features, (batch,) = features_of(learner, benchmark), learner.one_pass(benchmark.train[0].samples, 100)
    lengths = features.norm(dim=1)
    assert (lengths - 1).abs().min() > 0.1  # not of unit length
    for record in strategy.state.densities:
        torch.testing.assert_close(record["means"][0], features[batch.targets == record["target"]].mean(0))


def test_draws_enter_cosine_logits_with_unit_length(draws: list[Drawn]) -> None:
    learner, _ = learned(FeatureReplay(), iterations=1)
    (drawn,) = draws
    head, scale = learner.model.head, learner.model.backbone.logit_scale
    inputs = Inputs(drawn.features, drawn.present, task_ids=drawn.task_ids)
    logits = [
        head.score(Output(fused=factor * drawn.features[IMAGE]), inputs, learner.label_space) for factor in (1.0, 50.0)
    ]
    torch.testing.assert_close(*logits)
    assert logits[0].abs().max() <= scale * 1.0001
    assert (drawn.features[IMAGE].norm(dim=1) - 1).abs().min() > 0.05


class Doubling(nn.Module):
    """A fusion that could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.seen: list[set[str]] = []

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        self.seen.append(set(features))
        return self.factor * sum(features.values())  # type: ignore[return-value]


def test_draws_pass_through_the_fusion(draws: list[Drawn]) -> None:
    benchmark = toy_benchmark(CIL, 2)
    learner = toy_learner(benchmark, {"feature_replay": FeatureReplay()}, iterations=1)
    learner.model.fusion = Doubling()
    for experience in benchmark.train:
        learner.train(experience)
    (drawn,) = draws
    inputs = Inputs(drawn.features, drawn.present, task_ids=drawn.task_ids)
    teacher = learner.teacher("previous").model  # with one step, also what the term was computed with
    with torch.no_grad():
        logits = teacher.head.score(Output(fused=2 * drawn.features[IMAGE]), inputs, learner.label_space)
    expected = functional.cross_entropy(logits, learner.label_space.columns(drawn.targets)) / 2
    torch.testing.assert_close(learner.loss_terms["feature_replay/replay"].detach(), expected)


# Scenarios.


def test_in_til_a_draw_competes_among_the_classes_of_its_own_experience(draws: list[Drawn]) -> None:
    learner, _ = learned(FeatureReplay(), TIL, 3, iterations=1, batch_size=32)
    drawn, teacher = draws[-1], learner.teacher("previous").model
    assert set(drawn.task_ids.tolist()) == {0, 1}
    losses = []
    for feature, target, task_id in zip(drawn.features[IMAGE], drawn.targets, drawn.task_ids.tolist(), strict=True):
        space, one = learner.label_space_of(task_id), feature.unsqueeze(0)
        with torch.no_grad():
            logits = teacher.head.score(Output(fused=one), Inputs({IMAGE: one}, {}), space)
        losses.append(functional.cross_entropy(logits, space.columns(target.unsqueeze(0))))
    expected = 2 / 3 * torch.stack(losses).mean()
    torch.testing.assert_close(learner.loss_terms["feature_replay/replay"].detach(), expected)


def test_in_dil_every_domain_of_a_class_is_replayed(draws: list[Drawn]) -> None:
    learned(FeatureReplay(), DIL, 3, iterations=4, batch_size=16)
    task_ids, targets = (torch.cat([getattr(drawn, name) for drawn in draws[-4:]]) for name in ("task_ids", "targets"))
    assert torch.bincount(2 * task_ids + targets).min() >= 8


def test_classes_keep_the_modalities_they_had() -> None:
    strategy = FeatureReplay()
    learned(strategy, MDTIL, 3)
    had: dict[int, set[tuple[str, ...]]] = {}
    for record in strategy.state.densities:
        had.setdefault(record["task_id"], set()).add(tuple(record["modalities"]))
    assert had == {0: {("image",)}, 1: {("text",)}, 2: {("image",), ("text",), ("image", "text")}}


# State.


def test_what_is_kept_grows_with_the_classes_and_with_nothing_else() -> None:
    strategy, benchmark = FeatureReplay(covariance="diagonal"), toy_benchmark(CIL, 3, per_class=4)
    learner = toy_learner(benchmark, {"feature_replay": strategy}, iterations=1)
    sizes = []
    for experience in benchmark.train:
        learner.train(experience)
        tensors = [v for record in strategy.state.densities for v in record.values() if isinstance(v, Tensor)]
        sizes.append(sum(v.untyped_storage().nbytes() for v in tensors))
    assert sizes == [sizes[0], 2 * sizes[0], 3 * sizes[0]]
    assert sizes[0] == 2 * 4 * (1 + 2 * 16)
    assert strategy.grows


def test_old_densities_do_not_change() -> None:
    strategy, benchmark = FeatureReplay(), toy_benchmark(CIL, 2)
    learner = toy_learner(benchmark, {"feature_replay": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    before = deepcopy(strategy.state.densities)
    learner.train(benchmark.train[1])
    for old, now in zip(before, strategy.state.densities, strict=False):
        assert all(torch.equal(value, now[name]) for name, value in old.items() if isinstance(value, Tensor))


@pytest.mark.parametrize(
    "options",
    [{}, {"density": "mog", "components": 2, "covariance": "diagonal"}, {"density": "vae", "vae_steps": 5}],
)
@pytest.mark.parametrize("scenario", [CIL, DIL, MDTIL])
def test_a_run_that_was_interrupted_gives_the_same_weights(
    scenario: Scenario, options: dict[str, Any], tmp_path: Path
) -> None:
    benchmark = toy_benchmark(scenario, 3, per_class=12)
    through = toy_learner(benchmark, {"feature_replay": FeatureReplay(**options)})
    for experience in benchmark.train[:2]:
        through.train(experience)
    stored = tmp_path / "state.pt"
    torch.save(through.strategies["feature_replay"].state_dict(), stored)
    tensors = deepcopy(model_tensors(through.model, ()))
    through.train(benchmark.train[2])

    torch.manual_seed(99)
    resumed = toy_learner(benchmark, {"feature_replay": FeatureReplay(**options)})
    for experience in benchmark.train[:2]:
        resumed.meet(experience)
    restore_model(resumed.model, tensors)
    resumed.strategies["feature_replay"].load_state_dict(torch.load(stored, weights_only=True))
    resumed.train(benchmark.train[2])
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(through).items())


@pytest.mark.parametrize(
    "options",
    [
        {"density": "wgan"},
        {"latent": 0},
        {"vae_steps": 0},
        {"components": 0},
        {"covariance": "spherical"},
        {"shrinkage": 1.5},
        {"strength": -1.0},
    ],
)
def test_a_wrong_choice_is_refused_where_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"feature_replay.{next(iter(options))}"):
        FeatureReplay(**options)
