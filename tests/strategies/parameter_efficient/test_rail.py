"""RAIL through the learner: exact, frozen, gated, and as large as what it has learned."""

import io
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.analytic_head import AnalyticHead
from mmcl_strategies.parameter_efficient.rail import RAIL
from mmcl_strategies.parameter_efficient.regression import DualRegression, PrimalRegression
from torch import Tensor, nn

from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.backbone import Backbone
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.laboratory.trial import Answers
from mmcl.testing.toy import toy_benchmark, toy_learner

ALL = Scenario("X-TAIL", task_id_known_at_test=False, label_space_at_test="all", modalities_change=False)
UNITS, BATCH = 48, 5
FORMS = ("primal", "dual")


@cache
def pretrained() -> Backbone:
    """A miniature CLIP that knows some of the classes: a random one takes every image for the same."""
    benchmark = toy_benchmark(CIL, 1, classes=12, seed=3)
    learner = toy_learner(benchmark, iterations=40, batch_size=24, lr=3e-3, device="cpu")
    learner.train(benchmark.train[0])
    return learner.model.backbone.requires_grad_(True)


def learner_of(benchmark: Benchmark, strategies: dict[str, StrategyPlugin], seed: int = 0, **training: Any) -> Learner:
    return Learner(
        model=MultimodalModel(deepcopy(pretrained())),
        scenario=benchmark.scenario,
        strategies=strategies,
        training={"device": "cpu", "eval_batch_size": BATCH, **training},
        every_class=benchmark.label_space,
        seed=seed,
    )


def rail(benchmark: Benchmark, learned: int = 0, seed: int = 0, **options: Any) -> Learner:
    learner = learner_of(benchmark, {"rail": RAIL(**{"expansion": UNITS, **options})}, seed)
    for experience in benchmark.train[:learned]:
        learner.train(experience)
    return learner


def head_of(learner: Learner) -> AnalyticHead:
    assert isinstance(learner.model.head, AnalyticHead)
    return learner.model.head


def primal(learner: Learner) -> PrimalRegression:
    assert isinstance(head_of(learner).regression, PrimalRegression)
    return head_of(learner).regression


def scores(learner: Learner, benchmark: Benchmark, test: int) -> Tensor:
    answers = Answers()
    learner.evaluate(benchmark.test[test], answers)
    return torch.cat(answers.scores)


def zero_shot(benchmark: Benchmark, test: int) -> Tensor:
    """What the pre-trained model says, before anything."""
    return scores(learner_of(benchmark, {}), benchmark, test).softmax(1)


@torch.no_grad()
def data(benchmark: Benchmark, experiences: int, test: bool = False) -> tuple[Tensor, Tensor]:
    """Unit features of the pre-trained model and labels, of the first experiences."""
    plain = learner_of(benchmark, {})
    plain.model.eval()
    streams = (benchmark.test if test else benchmark.train)[:experiences]
    batches = [batch for experience in streams for batch in plain.one_pass(experience.samples)]
    found = torch.cat([plain.encode(batch.inputs).fused for batch in batches]).double()
    return found / found.norm(dim=1, keepdim=True), torch.cat([batch.labels for batch in batches])


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels).double()


def test_after_every_experience_the_weights_are_those_of_joint_ridge_on_all_samples_so_far() -> None:
    benchmark = toy_benchmark(ALL, 4, per_class=7)
    learner = rail(benchmark)
    for t, experience in enumerate(benchmark.train):
        learner.train(experience)
        x, labels = data(benchmark, t + 1)
        Phi = (x @ primal(learner).layer.T).clamp(min=0)
        R = torch.linalg.inv(Phi.T @ Phi + 0.1 * torch.eye(UNITS, dtype=torch.float64))
        assert primal(learner).ids.tolist() == list(range(2 * (t + 1)))
        assert (primal(learner).R - R).abs().max() < 1e-6
        assert (primal(learner).W - R @ Phi.T @ one_hot(labels)).abs().max() < 1e-6


def test_the_dual_form_solves_for_all_samples_so_far() -> None:
    benchmark = toy_benchmark(ALL, 3, per_class=5)
    learner = rail(benchmark, 3, form="dual", gamma=0.7, dual_ridge=0.01)
    x, labels = data(benchmark, 3)
    K = torch.exp(-0.7 * torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square())
    alpha = torch.linalg.solve(K + 0.01 * torch.eye(len(x), dtype=torch.float64), one_hot(labels))
    found = head_of(learner).regression
    assert isinstance(found, DualRegression)
    assert (found.alpha - alpha).abs().max() < 1e-6 * alpha.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_the_whole_backbone_stays_bit_for_bit_after_every_experience_and_nothing_steps(form: str) -> None:
    class Steps(StrategyPlugin):
        count = 0

        def before_update(self, learner: Learner, **_: object) -> None:
            Steps.count += 1

    benchmark = toy_benchmark(ALL, 3)
    learner = learner_of(benchmark, {"rail": RAIL(form=form, expansion=UNITS), "steps": Steps()})
    before = deepcopy(learner.model.backbone.state_dict())
    for experience in benchmark.train:
        learner.train(experience)
        after = learner.model.backbone.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not Steps.count
    assert not any(parameter.requires_grad for parameter in learner.model.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_what_the_pre_trained_model_takes_for_a_class_not_learned_keeps_its_scores_bit_for_bit(form: str) -> None:
    benchmark, kept, mixed = toy_benchmark(ALL, 6), 0, 0
    learner = rail(benchmark, 3, form=form)
    for test in range(6):
        plain, found = zero_shot(benchmark, test), scores(learner, benchmark, test)
        for row, after in zip(plain, found, strict=True):
            unseen = int(row.argmax()) >= 6
            assert torch.equal(row, after) is unseen
            kept, mixed = kept + unseen, mixed + (not unseen)
    assert kept
    assert mixed


def test_before_anything_is_learned_and_at_weight_zero_the_answers_are_the_softmax_of_plain_clip() -> None:
    benchmark = toy_benchmark(ALL, 3)
    for learner in (rail(benchmark), rail(benchmark, 2, adapter_weight=0)):
        for test in range(3):
            assert torch.equal(scores(learner, benchmark, test), zero_shot(benchmark, test))


def test_the_regression_is_added_as_it_is_to_rows_of_learned_classes() -> None:
    benchmark = toy_benchmark(ALL, 3)
    learner = rail(benchmark, 3, adapter_weight=0.3)
    values = (data(benchmark, 3, test=True)[0] @ primal(learner).layer.T).clamp(min=0) @ primal(learner).W
    plain = torch.cat([zero_shot(benchmark, test) for test in range(3)])
    found = torch.cat([scores(learner, benchmark, test) for test in range(3)])
    assert (found.double() - (0.7 * plain.double() + 0.3 * values)).abs().max() < 1e-6


def asked(learner: Learner, samples: TensorSamples, space: LabelSpace, rows: slice = slice(None)) -> Tensor:
    values = samples.values[IMAGE][rows]
    inputs = Inputs({IMAGE: values}, {IMAGE: torch.ones(len(values), dtype=torch.bool)}, asked=Asked(space))
    with torch.no_grad():
        logits = learner.model.eval().predict(inputs).logits
    assert logits is not None
    return logits


def test_columns_follow_the_classes_in_any_order_and_in_any_part_of_them() -> None:
    benchmark = toy_benchmark(ALL, 4)
    learner, samples = rail(benchmark, 3), benchmark.experiences[0].test
    assert isinstance(samples, TensorSamples)
    every = list(benchmark.label_space)
    whole = asked(learner, samples, benchmark.label_space)
    order = [6, 3, 0, 5, 1, 7, 4, 2]
    shuffled = asked(learner, samples, LabelSpace(tuple(every[c] for c in order)))
    torch.testing.assert_close(shuffled, whole[:, order], rtol=0, atol=1e-6)
    part = asked(learner, samples, LabelSpace((every[7], every[2], every[0])))
    assert part.shape == (len(samples), 3)
    assert not torch.allclose(part.sum(1), torch.ones(len(samples)))


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    benchmark = toy_benchmark(ALL, 6)
    learner = rail(benchmark, 3)
    values = torch.cat([data.test.values[IMAGE][:2] for data in benchmark.experiences])  # type: ignore[attr-defined]
    samples = TensorSamples({IMAGE: values}, torch.zeros(len(values), dtype=torch.long), 0)
    together = asked(learner, samples, benchmark.label_space)
    assert 0 < int(together.sum(1).isclose(torch.ones(())).sum()) < len(values)  # both kinds of rows
    alone = [asked(learner, samples, benchmark.label_space, slice(row, row + 1)) for row in range(len(values))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def test_classes_that_return_keep_their_columns_and_learn_from_all_of_their_samples() -> None:
    benchmark = toy_benchmark(DIL, 3, per_class=5)
    learner = rail(benchmark, 3)
    x, labels = data(benchmark, 3)
    Phi = (x @ primal(learner).layer.T).clamp(min=0)
    wanted = torch.linalg.solve(Phi.T @ Phi + 0.1 * torch.eye(UNITS, dtype=torch.float64), Phi.T @ one_hot(labels))
    assert primal(learner).ids.tolist() == [0, 1]
    assert (primal(learner).W - wanted).abs().max() < 1e-6


def test_among_the_classes_of_one_experience_what_was_not_learned_is_the_zero_shot_answer() -> None:
    benchmark = toy_benchmark(TIL, 3)
    learner = rail(benchmark, 2)
    assert torch.equal(scores(learner, benchmark, 2), zero_shot(benchmark, 2))
    for test in range(2):
        assert not bool((scores(learner, benchmark, test) == zero_shot(benchmark, test)).all(1).any())


def test_likelihoods_are_those_of_the_answers() -> None:
    benchmark = toy_benchmark(CIL, 3)
    learner = rail(benchmark, 3)
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    with torch.no_grad():
        shares = learner.log_probabilities(batch).exp()
        answers = learner.predict(batch.inputs).logits
    assert answers is not None
    positive = answers.clamp(min=0)
    torch.testing.assert_close(shares, positive / positive.sum(1, keepdim=True), rtol=0, atol=1e-5)
    assert bool(learner.log_probabilities(batch).isfinite().all())


@pytest.mark.parametrize("form", FORMS)
def test_how_sure_an_answer_is_follows_from_its_scores_which_are_shares_and_no_logits(form: str) -> None:
    benchmark = toy_benchmark(ALL, 6)
    learner = rail(benchmark, 3, form=form)
    for test in range(6):
        found = scores(learner, benchmark, test)
        sure = head_of(learner).confidence(found)
        positive = found.clamp(min=0)
        torch.testing.assert_close(sure, positive / positive.sum(1, keepdim=True), rtol=0, atol=1e-6)
        assert bool((sure.gather(1, found.argmax(1, keepdim=True)).squeeze(1) == sure.amax(1)).all())
        unseen = zero_shot(benchmark, test).argmax(1) >= 6
        torch.testing.assert_close(sure[unseen], found[unseen], rtol=0, atol=1e-6)
        metric = Accuracy()
        learner.evaluate(benchmark.test[test], metric)
        said = [float(row["score"]) for row in metric.answers()]
        torch.testing.assert_close(torch.tensor(said), sure.amax(1), rtol=0, atol=1e-5)
        assert min(said) > found.softmax(1).amax() - 1e-6  # which hardly differs from 1 in 12


def test_where_no_score_is_above_zero_all_classes_are_as_likely() -> None:
    sure = head_of(rail(toy_benchmark(ALL, 1))).confidence(torch.tensor([[-1.0, -0.5, 0.0, -2.0]]))
    assert sure.tolist() == [[0.25] * 4]


@pytest.mark.parametrize("form", FORMS)
def test_saved_after_classes_have_come_it_is_loaded_and_goes_on_as_if_never_stopped(form: str) -> None:
    benchmark = toy_benchmark(ALL, 4)
    learner = rail(benchmark, 2, form=form)
    buffer = io.BytesIO()
    torch.save(model_tensors(learner.model, learner.untouched), buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    assert not any(name.startswith("backbone.") for name in saved)
    again = rail(benchmark, form=form, seed=9)
    for experience in benchmark.train[:2]:
        again.meet(experience)
    restore_model(again.model, saved)
    for t in range(2, 4):
        assert torch.equal(scores(again, benchmark, 0), scores(learner, benchmark, 0))
        for each in (learner, again):
            each.train(benchmark.train[t])


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_learns_on_by_itself(form: str) -> None:
    benchmark = toy_benchmark(ALL, 3)
    learner = rail(benchmark, 1, form=form)
    copy, before = deepcopy(learner.model), deepcopy(head_of(learner).regression.state_dict())
    for experience in benchmark.train[1:]:
        learner.train(experience)
    after = copy.head.regression.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert len(head_of(learner).regression.ids) == 6


def test_the_random_layer_is_that_of_the_seed_uniform_and_without_bias() -> None:
    benchmark = toy_benchmark(ALL, 1)
    layers = [primal(rail(benchmark, seed=seed, expansion=2000)).layer for seed in (0, 0, 1)]
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])
    bound = layers[0].shape[1] ** -0.5
    assert 0.99 * bound < float(layers[0].abs().max()) <= bound
    assert abs(float(layers[0].var()) - bound**2 / 3) < 0.02 * bound**2


@pytest.mark.parametrize("expansion", [0, None])
def test_without_an_expansion_the_features_themselves_are_regressed_on(expansion: int | None) -> None:
    benchmark = toy_benchmark(ALL, 2)
    learner = rail(benchmark, 2, expansion=expansion)
    x, labels = data(benchmark, 2)
    wanted = torch.linalg.solve(x.T @ x + 0.1 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ one_hot(labels))
    assert (primal(learner).W - wanted).abs().max() < 1e-6


def test_primal_keeps_no_sample_and_dual_keeps_the_features_of_all_and_says_so() -> None:
    sizes: dict[str, list[int]] = {}
    for form in FORMS:
        for per_class in (4, 8):
            learner = rail(toy_benchmark(ALL, 2, per_class=per_class), 2, form=form)
            sizes.setdefault(form, []).append(sum(b.nbytes for b in head_of(learner).regression.buffers()))
    assert sizes["primal"][0] == sizes["primal"][1]
    more, width, classes = 4 * 2 * 2, pretrained().width, 4
    assert sizes["dual"][1] - sizes["dual"][0] == more * 8 * (width + 1 + classes)
    assert [RAIL(form=form).memory_budget().samples for form in FORMS] == [0, None]


def test_ten_a_hundred_and_three_hundred_experiences_are_one_regression() -> None:
    benchmark = toy_benchmark(ALL, 300, classes=1, per_class=2)
    learner = rail(benchmark)
    x, labels = data(benchmark, 300)
    Phi = (x @ primal(learner).layer.T).clamp(min=0)
    for t, experience in enumerate(benchmark.train, start=1):
        learner.train(experience)
        if t in (10, 100, 300):
            rows = labels < t
            gram = Phi[rows].T @ Phi[rows] + 0.1 * torch.eye(UNITS, dtype=torch.float64)
            wanted = torch.linalg.solve(gram, Phi[rows].T @ one_hot(labels[rows]))
            assert (primal(learner).W - wanted).abs().max() < 1e-6


class Trained(AddOn):
    """Scales what leaves a block."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        return self.scale * here.value


class Adapts(StrategyPlugin):
    """Trains something in the backbone."""

    def adapt_model(self, learner: Learner) -> None:
        site = learner.model.backbone.sites_of(IMAGE, "block")[0]
        learner.model.attach("adapts", site, Trained())


@pytest.mark.parametrize("first", ["rail", "adapts"])
def test_company_that_trains_what_the_features_come_from_is_refused_in_a_sentence(first: str) -> None:
    benchmark = toy_benchmark(CIL, 2)
    both: dict[str, StrategyPlugin] = {"rail": RAIL(expansion=UNITS), "adapts": Adapts()}
    learner = learner_of(benchmark, dict(sorted(both.items(), key=lambda pair: pair[0] != first)), iterations=1)
    if first == "adapts":  # what was there is frozen with the rest
        learner.train(benchmark.train[0])
        return
    with pytest.raises(CompositionError, match=r"rail.*trains.*which the features come from"):
        learner.train(benchmark.train[0])


@pytest.mark.parametrize("options", [{"ridge": 0.0}, {"adapter_weight": 1.1}, {"expansion": -1}, {"gamma": 0}])
def test_a_number_that_makes_no_regression_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"rail.{next(iter(options))}"):
        RAIL(**options)  # type: ignore[arg-type]
