"""The construction kit: every form is the pure function it names, under every teacher, on the rows that are there."""

from collections.abc import Callable

import pytest
import torch
from mmcl_strategies.distillation.distill import FORMS, TEACHERS, Distill
from mmcl_strategies.maths import feature_distillation as feature
from mmcl_strategies.maths import relation_distillation as relation
from mmcl_strategies.maths.distillation import soft_cross_entropy, unit_rows
from torch import Tensor

from mmcl.build import surroundings
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import CompatibleMomentum, Interpolated, Momentum
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, MDTIL, TIL, Scenario
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs
from mmcl.testing.toy.models import ImageTower

Pair = Callable[[Tensor, Tensor], Tensor]

PLAIN: dict[tuple[str, str], Pair] = {
    ("feature", "mse"): lambda s, t: feature.mean_squared(unit_rows(s), unit_rows(t)),
    ("feature", "cosine"): feature.cosine_distance,
    ("feature", "dimensions"): lambda s, t: feature.dimension_divergence(s, t, 0.07),
    ("feature", "length"): feature.mean_distance,
    ("relation", "same"): lambda s, t: relation.same_modality_divergence(s, t, 0.07),
    ("relation", "gram"): relation.gram_mse,
    ("relation", "distance"): relation.distance_huber,
    ("relation", "angle"): relation.angle_huber,
}


class LastStep(StrategyPlugin):
    """Keeps the last step's features of student and teacher."""

    def __init__(self, strategy: Distill) -> None:
        self.strategy = strategy

    def before_backward(self, learner: Learner, **_: object) -> None:
        (policy,) = self.strategy.teachers
        self.student = learner.output
        self.teacher = learner.teacher(policy).output(learner.batch)
        self.inputs = learner.batch.inputs
        self.terms = {name: value.detach() for name, value in learner.loss_terms.items()}


def trained(
    strategy: Distill, benchmark: Benchmark | None = None, experiences: int = 2, **training: object
) -> tuple[Learner, LastStep]:
    benchmark, last = benchmark or toy_benchmark(TIL), LastStep(strategy)
    learner = toy_learner(benchmark, {"distill": strategy, "last": last}, lr=1e-2, **training)
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
    return learner, last


@pytest.mark.parametrize(("kind", "form"), PLAIN)
def test_a_form_is_the_function_it_names(kind: str, form: str) -> None:
    _, last = trained(Distill(kind=kind, form=form, strength=3.0))  # type: ignore[arg-type]
    expected = 3 * PLAIN[kind, form](last.student.features[IMAGE], last.teacher.features[IMAGE])
    torch.testing.assert_close(last.terms[f"distill/{kind}"], expected.detach())
    assert float(expected.detach()) > 0


def test_every_form_is_covered_here() -> None:
    assert {(kind, form) for kind, forms in FORMS.items() for form in forms} == {
        *PLAIN,
        ("logits", "kl"),
        ("logits", "ce"),
        ("relation", "cross"),
    }


def test_similarity_across_the_modalities_is_that_of_ctp() -> None:
    _, last = trained(Distill(kind="relation"), toy_pairs())
    rows = [output.features[name] for output in (last.student, last.teacher) for name in (IMAGE, TEXT)]
    torch.testing.assert_close(last.terms["distill/relation"], relation.cross_modal_divergence(*rows, 0.07).detach())


@pytest.mark.parametrize("form", ["kl", "ce"])
@pytest.mark.parametrize(
    ("scenario", "classes", "ids"), [(CIL, "old", [0, 1]), (CIL, "all", [0, 1, 2, 3]), (TIL, "all", [2, 3])]
)
def test_logits_are_compared_over_the_active_classes_alone(
    form: str, scenario: Scenario, classes: str, ids: list[int]
) -> None:
    options = {"temperature": 3.0, "squared_temperature": True, "divergence": form == "kl"}
    strategy = Distill(form=form, classes=classes, temperature=3.0, squared_temperature=True)  # type: ignore[arg-type]
    expected: list[Tensor] = []

    class Expect(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            every = LabelSpace.of(["alpha", "beta", "gamma", "delta"], templates=["{}"])
            (policy,) = strategy.teachers
            with torch.no_grad():
                scores = learner.model.head.score(learner.output, learner.batch.inputs, every)
                teacher = learner.teacher(policy)
                answers = teacher.model.head.score(teacher.output(learner.batch), learner.batch.inputs, every)
            expected.append(soft_cross_entropy(scores, answers, columns=torch.tensor(ids), **options))  # type: ignore[arg-type]

    benchmark = toy_benchmark(scenario)
    learner = toy_learner(benchmark, {"distill": strategy, "expect": Expect()}, lr=1e-2)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    torch.testing.assert_close(learner.loss_terms["distill/logits"].detach(), expected[-1])


def test_old_classes_do_not_exist_in_the_first_experience() -> None:
    _, last = trained(Distill(), experiences=1)
    assert set(last.terms) == {"task"}


def test_the_sum_is_the_mean_times_the_number_of_samples() -> None:
    terms = []
    for reduction in ("mean", "sum"):
        benchmark, strategy = toy_benchmark(TIL), Distill(kind="relation", form="gram", reduction=reduction)  # type: ignore[arg-type]
        learner = toy_learner(benchmark, {"distill": strategy}, lr=1e-2, iterations=1)
        learner.train(benchmark.train[0])
        learner.experience, learner.mbatch = benchmark.train[0], next(learner.one_pass(benchmark.train[0].samples, 4))
        learner.mb_output = learner.model.encode(learner.batch.inputs)
        with torch.no_grad():
            for parameter in learner.teacher(next(iter(strategy.teachers))).model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        terms.append(strategy.loss_terms(learner)["relation"].detach())
    assert float(terms[0]) > 0
    torch.testing.assert_close(terms[1], 4 * terms[0], rtol=1e-3, atol=0.0)


def test_temperature_and_its_square_are_visible_choices() -> None:
    strategies = [
        Distill(kind="feature", form="dimensions", temperature=t, squared_temperature=s)
        for t, s in ((None, False), (0.5, False), (0.5, True))
    ]
    for strategy, temperature, factor in zip(strategies, (0.07, 0.5, 0.5), (1, 1, 0.25), strict=True):
        _, last = trained(strategy)
        rows = last.student.features[IMAGE], last.teacher.features[IMAGE]
        expected = factor * feature.dimension_divergence(*rows, temperature)
        torch.testing.assert_close(last.terms["distill/feature"], expected.detach())


def test_raw_features_can_be_compared_where_the_source_normalises() -> None:
    _, last = trained(Distill(kind="feature", form="mse", normalize=False))
    expected = feature.mean_squared(last.student.features[IMAGE], last.teacher.features[IMAGE])
    torch.testing.assert_close(last.terms["distill/feature"], expected.detach())


def test_own_entries_can_stay_in() -> None:
    _, last = trained(Distill(kind="relation", form="same", mask_own=False))
    rows = last.student.features[IMAGE], last.teacher.features[IMAGE]
    expected = relation.same_modality_divergence(*rows, 0.07, mask_own=False)
    torch.testing.assert_close(last.terms["distill/relation"], expected.detach())
    assert float(expected.detach()) != pytest.approx(float(relation.same_modality_divergence(*rows, 0.07).detach()))


def test_missing_modalities_are_left_out_and_the_others_averaged() -> None:
    _, last = trained(Distill(kind="feature"), toy_benchmark(MDTIL), experiences=3, batch_size=16)
    losses = []
    for name in (IMAGE, TEXT):
        there = last.inputs.present[name]
        assert 0 < int(there.sum()) < len(there)
        losses.append(PLAIN["feature", "mse"](last.student.features[name][there], last.teacher.features[name][there]))
    torch.testing.assert_close(last.terms["distill/feature"], torch.stack(losses).mean().detach())


@pytest.mark.parametrize("features", ["fused", "image", "text"])
def test_one_view_can_be_chosen(features: str) -> None:
    _, last = trained(Distill(kind="feature", form="cosine", features=features), toy_pairs())  # type: ignore[arg-type]
    rows = [
        output.fused if features == "fused" else output.features[features] for output in (last.student, last.teacher)
    ]
    assert rows[0] is not None
    assert rows[1] is not None
    torch.testing.assert_close(last.terms["distill/feature"], feature.cosine_distance(rows[0], rows[1]).detach())


def test_the_teacher_is_one_setting() -> None:
    for name, policy in TEACHERS.items():
        assert Distill(kind="feature", teacher=name).teachers == {policy}
    assert Distill(kind="feature", teacher="momentum", rate=0.5).teachers == {Momentum(0.5)}
    assert Distill(teacher="interpolated", share=0.5).teachers == {Interpolated(0.5)}
    assert Distill(teacher="compatible", rate=0.5, share=0.1).teachers == {CompatibleMomentum(0.5, 0.1)}
    assert Distill(kind="feature", teacher="stored").teachers == set()
    with pytest.raises(ConfigError, match="0 to 1"):
        Distill(teacher="momentum", rate=1.5)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_every_teacher_gives_a_term_without_a_gradient_of_its_own(teacher: str) -> None:
    strategy = Distill(kind="feature", teacher=teacher)
    learner, last = trained(strategy)
    assert float(last.terms["distill/feature"]) > 0
    (policy,) = strategy.teachers
    assert all(parameter.grad is None for parameter in learner.teacher(policy).model.parameters())


def test_stored_features_stay_with_their_samples_and_are_never_refreshed() -> None:
    benchmark = toy_pairs(experiences=3)
    strategy = Distill(kind="feature", teacher="stored", samples=5, per_experience=2)
    learner = toy_learner(benchmark, {"distill": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    first = {name: rows.clone() for name, rows in strategy.state.features.items()}
    for name in (IMAGE, TEXT):
        values = torch.stack([record["inputs"][name] for record in strategy.state.records])
        torch.testing.assert_close(first[name], encoded(learner.model.backbone, name, values).pooled.detach())
    assert set(learner.loss_terms) == {"task"}
    learner.train(benchmark.train[1])
    assert float(learner.loss_terms["distill/feature"].detach()) > 0
    assert len(strategy.state.records) == 10
    assert all(torch.equal(rows[:5], first[name]) for name, rows in strategy.state.features.items())
    assert strategy.memory_budget().samples is None


def test_stored_features_are_taken_in_evaluation_mode() -> None:
    """The tower has dropout and batch statistics."""
    benchmark, strategy = toy_benchmark(TIL), Distill(kind="feature", teacher="stored", samples=16)
    learner = toy_learner(benchmark, {"distill": strategy}, lr=1e-2, backbone=ImageTower())
    learner.train(benchmark.train[0])
    values = torch.stack([record["inputs"][IMAGE] for record in strategy.state.records])
    with torch.no_grad():
        expected = encoded(learner.model.eval().backbone, IMAGE, values).pooled
    torch.testing.assert_close(strategy.state.features[IMAGE], expected)


def test_stored_features_of_streams_whose_modalities_change_keep_their_rows() -> None:
    benchmark, strategy = toy_benchmark(MDTIL), Distill(kind="feature", teacher="stored", samples=4)
    learner = toy_learner(benchmark, {"distill": strategy})
    for experience in benchmark.train:
        learner.train(experience)
    assert {name: len(rows) for name, rows in strategy.state.features.items()} == {IMAGE: 12, TEXT: 12}
    for index, record in enumerate(strategy.state.records):
        for name, value in record["inputs"].items():
            row = encoded(learner.model.backbone, name, value.unsqueeze(0)).pooled[0]
            if record["task_id"] == 2:
                torch.testing.assert_close(strategy.state.features[name][index], row.detach())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "feelings"}, "'logits' or 'feature' or 'relation'"),
        ({"form": "mse"}, "kl, ce"),
        ({"teacher": "nobody"}, "'initial' or 'previous'"),
        ({"teacher": "stored"}, "stored features have no scores"),
        ({"kind": "feature", "squared_temperature": True}, "unless the form is one of"),
        ({"temperature": 0.0}, "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Distill(**options)  # type: ignore[arg-type]


def test_logits_need_classes_and_similarity_across_modalities_needs_pairs() -> None:
    with pytest.raises(CompositionError, match="needs experiences with classes"):
        check_composition([Distill()], ["distill"], surroundings(benchmark=toy_pairs()))
    with pytest.raises(CompositionError, match="needs pairs"):
        check_composition([Distill(kind="relation")], ["distill"], surroundings(benchmark=toy_benchmark()))
    check_composition([Distill(kind="feature")], ["distill"], surroundings(benchmark=toy_pairs()))
