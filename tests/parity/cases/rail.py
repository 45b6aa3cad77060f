"""RAIL: its formulas, and whole runs through the learner."""

from collections.abc import Iterator

import torch
from mmcl_strategies.parameter_efficient.analytic_head import AnalyticHead
from mmcl_strategies.parameter_efficient.rail import RAIL
from mmcl_strategies.parameter_efficient.regression import DualRegression, PrimalRegression
from mmcl_strategies.parameter_efficient.ridge import (
    expanded,
    fused,
    one_hot,
    rbf_kernel,
    ridge_solution,
    unit,
    updated,
    widened,
)
from torch import Tensor
from torch.nn.functional import pad

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario

from ..base_clip import base_clip
from ..case import STRICT, Case, Parity, Tolerance
from ..small_clip import RecordedTokenizer
from ..trajectory import Answers

ALL = Scenario("recorded", task_id_known_at_test=False, label_space_at_test="all", modalities_change=False)


def check_recursive(case: Case) -> None:
    features, labels = case.tensor("features"), case.tensor("labels")
    query, text = case.tensor("query"), case.tensor("text_weights")
    ridge, weight, gamma = case.number("ridge"), case.number("fusion_weight"), case.number("gamma")
    counts = case.arrays["classes_per_task"].cumsum().tolist()
    expansion = case.tensor("expansion_w") if case.integer("use_expansion") else None
    Phi, phi = (rows if expansion is None else expanded(rows, expansion) for rows in (features, query))

    R, W = torch.eye(Phi.shape[1], dtype=Phi.dtype) / ridge, Phi.new_zeros(Phi.shape[1], 0)
    after = []
    for t, count in enumerate(counts):
        W = widened(W, count)
        of_task = case.tensor("task") == t
        for b in case.tensor("batch")[of_task].unique():
            rows = of_task & (case.tensor("batch") == b)
            R, W = updated(R, W, Phi[rows], one_hot(labels[rows], torch.arange(count)))
        after.append(pad(W, (0, counts[-1] - count)))
    case.expect("W_after_task", torch.stack(after))
    case.expect("R_final", R)
    Y = one_hot(labels, torch.arange(counts[-1]))
    case.expect("W_joint", ridge_solution(Phi.T @ Phi, Phi.T @ Y, ridge))
    assert (W - case.tensor("W_joint")).abs().max() <= 1e-6
    reference = case.tensor("W_reference_fp32")
    assert (W - reference).abs().max() <= 1e-4 + 1e-3 * reference.abs().max()

    zero_shot = (100 * query @ text.T).softmax(1)
    case.expect("zs_probs", zero_shot)
    case.expect("seen_mask", (zero_shot.argmax(1) < counts[-1]).long())
    alpha = ridge_solution(rbf_kernel(features, features, gamma), Y, case.number("dual_ridge"))
    case.expect("dual_alpha", alpha)
    values = {"adapter_logits": phi @ W, "dual_logits": rbf_kernel(query, features, gamma) @ alpha}
    for form, (name, value) in zip(("primal", "dual"), values.items(), strict=True):
        case.expect(name, value)
        known = torch.arange(len(text)) < counts[-1]
        scores = fused(zero_shot, pad(value, (0, len(text) - counts[-1])), known, weight)
        case.expect(f"fused_{form}", scores)
        case.expect(f"pred_{form}", scores.argmax(1))


def check_run(case: Case) -> None:
    weight = case.number("hp_fusion_weight")
    units = len(case.arrays["in_expansion_w"]) if case.integer("hp_use_expansion") else None
    for _, _, scores in learned(case, RAIL(adapter_weight=0.0, expansion=units)):
        case.expect("out_zero_shot", scores)
    primal = RAIL(ridge=case.number("hp_ridge"), adapter_weight=weight, expansion=units)
    for t, learner, scores in learned(case, primal):
        regression = regression_of(learner)
        assert isinstance(regression, PrimalRegression)
        case.expect(f"out_primal_W_t{t}", regression.W)
        case.expect(f"out_primal_R_t{t}", regression.R)
        case.expect(f"out_primal_fused_t{t}", scores)
    constants = {"dual_ridge": case.number("hp_dual_ridge"), "gamma": case.number("hp_gamma")}
    for t, learner, scores in learned(case, RAIL(form="dual", adapter_weight=weight, **constants)):
        regression = regression_of(learner)
        assert isinstance(regression, DualRegression)
        case.expect(f"out_dual_alpha_t{t}", regression.alpha)
        case.expect(f"out_dual_fused_t{t}", scores)
        for name in case.names(f"out_dual_adapter_t{t}_d"):
            case.expect(name, regressed(learner, stream(case).test[int(name.rpartition("_d")[2])]))
    case.require_all(case.names("out_"))


def stream(case: Case) -> Benchmark:
    """A domain after the other; the last one has no training images, and is only tested on."""
    experiences, first = [], 0
    for d, count in enumerate(case.arrays["in_classes_per_domain"].tolist()):
        space = LabelSpace.of([str(first + c) for c in range(count)], first_id=first, templates=["{}"])
        images = case.tensor("in_eval_images")[d]
        test = TensorSamples({IMAGE: images}, torch.full((len(images),), first), d)
        train = test
        if f"in_images_t{d}" in case.arrays:
            train = TensorSamples({IMAGE: case.tensor(f"in_images_t{d}")}, first + case.tensor(f"in_labels_t{d}"), d)
        experiences.append(ExperienceData(f"domain {d}", train, test, space, frozenset({IMAGE})))
        first += count
    return Benchmark(name="recorded", edition="recorded", scenario=ALL, experiences=experiences)


def learned(case: Case, rail: RAIL) -> Iterator[tuple[int, Learner, Tensor]]:
    """Learn all domains but the last; after each, the scores ``[T + 1, n, C]`` of all of them."""
    benchmark = stream(case)
    learner = Learner(
        model=base_clip(case, RecordedTokenizer(case.tensor("in_class_tokens"))),
        scenario=ALL,
        strategies={"rail": rail},
        training={"eval_batch_size": int(case.arrays["in_batch_sizes_t0"][0])},
        every_class=benchmark.label_space,
    )
    regression = regression_of(learner)
    if isinstance(regression, PrimalRegression) and rail.expansion:
        regression.layer.copy_(case.tensor("in_expansion_w"))
    answers = Answers()
    for t, experience in enumerate(benchmark.train[:-1]):
        learner.train(experience)
        scores = []
        for test in benchmark.test:
            learner.evaluate(test, answers)
            scores.append(torch.cat(answers.scores))
        yield t, learner, torch.stack(scores)


def regression_of(learner: Learner) -> torch.nn.Module:
    """What the strategy has put beside the zero-shot head."""
    assert isinstance(learner.model.head, AnalyticHead)
    return learner.model.head.regression


@torch.no_grad()
def regressed(learner: Learner, experience: Experience) -> Tensor:
    """Values of the regression on a test set."""
    batches = learner.one_pass(experience.samples)
    return torch.cat([regression_of(learner)(unit(learner.encode(batch.inputs).fused)) for batch in batches])


PARITY = {
    "rail_recursive": Parity(check_recursive, {torch.float64: Tolerance(1e-8, 1e-6)}),
    "run_rail": Parity(check_run, {**STRICT, torch.float32: Tolerance(1e-5, 1e-3)}),
}
