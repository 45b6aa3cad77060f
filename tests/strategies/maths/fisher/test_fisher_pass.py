"""The Fisher information of an experience does not depend on anything but its data and the weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay
from torch import Tensor

from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.errors import TrainingError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner

from ...regularization.test_family import Pixels

PLAIN = FisherPass("empirical", None, 8, None, "none")


def estimate(learner: Learner, experience: Experience, fisher_pass: FisherPass = PLAIN) -> dict[str, Tensor]:
    learner.meet(experience)
    learner.experience = experience
    parameters = {name: p for name, p in learner.model.named_parameters() if p.requires_grad}
    return fisher_pass(learner, parameters)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def with_weights_of(other: Learner, build: Callable[[], Learner]) -> Learner:
    learner = build()
    learner.model.load_state_dict(other.model.state_dict())
    return learner


@pytest.mark.parametrize("fisher", ["empirical", "sampled", "exact", "batched"])
def test_two_consecutive_calls_are_identical_and_leave_no_trace(fisher: str) -> None:
    """With dropout and batch statistics in the model."""
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, backbone=Pixels(), batch_size=8)
    learner.train(benchmark.train[0])
    learner.model.train()
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    random_state = torch.get_rng_state()
    one = FisherPass(fisher, 7, 3, None, "none")
    first, second = (estimate(learner, benchmark.train[0], one) for _ in range(2))
    assert_equal(first, second)
    assert all(torch.equal(before[name], value) for name, value in learner.model.state_dict().items())
    assert all(module.training for module in learner.model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_it_is_the_mean_of_squares_of_one_sample_at_a_time() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    found = estimate(learner, benchmark.train[0])
    expected = {name: torch.zeros_like(value) for name, value in found.items()}
    learner.model.eval()
    for batch in learner.one_pass(benchmark.train[0].samples, 1):
        parameters = [learner.model.get_parameter(name) for name in found]
        for total, gradient in zip(
            expected.values(), torch.autograd.grad(learner.log_likelihood(batch).sum(), parameters), strict=True
        ):
            total += gradient.square() / len(benchmark.train[0].samples)
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 5e-3 * float(value.norm()), name


def test_both_towers_of_glyph_clip_agree_with_one_sample_at_a_time() -> None:
    """``tests/performance/fisher_cost.py`` does the same on real data, and measures what it costs."""
    benchmark = toy_benchmark(TIL, experiences=1, classes=6, per_class=4)
    learner = toy_learner(benchmark, backbone=GlyphCLIP().build())
    found = estimate(learner, benchmark.train[0])
    learner.model.eval()
    truth = {name: torch.zeros_like(value) for name, value in found.items()}
    for batch in learner.one_pass(benchmark.train[0].samples, 1):
        parameters = [learner.model.get_parameter(name) for name in found]
        gradients = torch.autograd.grad(learner.log_likelihood(batch).sum(), parameters)
        for total, gradient in zip(truth.values(), gradients, strict=True):
            total += gradient.square()
    for tower in (True, False):
        names = [name for name in found if ("visual" in name) == tower]
        ours, theirs = (torch.cat([f[name].flatten() for name in names]).double() for f in (found, truth))
        assert float(torch.cosine_similarity(ours, theirs, dim=0)) >= 0.9999
        assert float(ours.sum() * 24 / theirs.sum()) == pytest.approx(1.0, abs=0.01)


def test_duplicating_the_data_leaves_it_unchanged() -> None:
    benchmark = toy_benchmark(TIL)
    once, data = benchmark.train[0], benchmark.train[0].samples
    assert isinstance(data, TensorSamples)
    twice = TensorSamples({k: v.repeat(2, 1, 1, 1) for k, v in data.values.items()}, data.targets.repeat(2), 0)
    doubled = Experience(ExperienceData("twice", twice, twice, once.label_space), twice, 0)
    learner = toy_learner(benchmark)
    learner.train(once)
    single, double = estimate(learner, once), estimate(learner, doubled)
    for name, value in single.items():
        assert float((double[name] - value).norm()) <= 5e-3 * float(value.norm()), name


def protected_twice(strength: float) -> tuple[Benchmark, Learner, EWC]:
    benchmark, ewc = toy_benchmark(TIL), EWC(strength=strength)
    learner = toy_learner(benchmark, {"ewc": ewc})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    return benchmark, learner, ewc


@pytest.mark.parametrize(
    "others",
    [{"ewc": EWC(strength=1e6)}, {"lwf": LwF(strength=100.0)}, {"replay": Replay(size=8)}],
    ids=["another strength", "a loss term", "replayed samples"],
)
def test_it_does_not_depend_on_strategies(others: dict[str, StrategyPlugin]) -> None:
    benchmark, learner, _ = protected_twice(1.0)
    expected = estimate(learner, benchmark.train[1])
    composed = toy_learner(benchmark, others)
    for experience in benchmark.train[:2]:
        composed.train(experience)
    composed.model.load_state_dict(learner.model.state_dict())
    assert_equal(estimate(composed, benchmark.train[1]), expected)


def test_the_state_after_two_experiences_holds_the_fisher_of_its_final_weights() -> None:
    """So no penalty entered, whatever the strength, and the second Fisher is of the second experience alone."""
    benchmark, first = toy_benchmark(TIL), EWC(strength=1e4)
    learner = toy_learner(benchmark, {"ewc": first})
    learner.train(benchmark.train[0])
    before = dict(first.state.fisher)
    learner.train(benchmark.train[1])
    plain = with_weights_of(learner, lambda: toy_learner(benchmark))
    second = estimate(plain, benchmark.train[1], FisherPass("empirical", 500, 32, None, "none"))
    for name, value in first.state.fisher.items():
        torch.testing.assert_close(value, before[name] + second[name])


def test_it_is_free_of_label_smoothing() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    smooth = with_weights_of(learner, lambda: toy_learner(benchmark, label_smoothing=0.3))
    assert_equal(estimate(smooth, benchmark.train[0]), estimate(learner, benchmark.train[0]))


def test_only_the_classes_active_at_that_time_compete() -> None:
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, backbone=Pixels(), batch_size=8)
    learner.train(benchmark.train[0])
    learner.train(benchmark.train[1])
    both = estimate(learner, benchmark.train[1])["head.weight"]
    assert both.shape == (4, 8)
    assert bool((both.sum(1) > 0).all())


def test_samples_are_drawn_at_random_without_repetition() -> None:
    benchmark = toy_benchmark(TIL)
    learner, shown = toy_learner(benchmark), []
    learner.meet(benchmark.train[0])
    learner.experience = benchmark.train[0]
    one_pass = learner.one_pass

    def spy(samples: Any, batch_size: int | None = None) -> Any:
        shown.append(list(samples.indices))
        return one_pass(samples, batch_size)

    learner.one_pass = spy  # type: ignore[method-assign]
    parameters = dict(learner.model.shared_parameters())
    for _ in range(2):
        FisherPass("empirical", 5, 2, None, "none")(learner, parameters)
    assert len(shown[0]) == len(set(shown[0])) == 5
    assert shown[0] != sorted(shown[0])
    assert all(indices == shown[0] for indices in shown)


@pytest.mark.parametrize(("norm", "size"), [("max", torch.inf), ("l1_mean", 1), ("l2", 2)])
def test_a_normalised_fisher_has_norm_one(norm: str, size: float) -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    found = estimate(learner, benchmark.train[0], FisherPass("empirical", None, 8, None, norm))
    plain = estimate(learner, benchmark.train[0])
    flat, original = (torch.cat([v.flatten() for v in values.values()]) for values in (found, plain))
    expected = float(flat.mean()) if norm == "l1_mean" else float(torch.linalg.vector_norm(flat, size))
    assert expected == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(flat / flat.max(), original / original.max())


def test_entries_are_clipped_before_they_are_normalised() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    plain = estimate(learner, benchmark.train[0])
    limit = float(torch.cat([v.flatten() for v in plain.values()]).median())
    clipped = estimate(learner, benchmark.train[0], FisherPass("empirical", None, 8, limit, "none"))
    assert_equal(clipped, {name: value.clamp(max=limit) for name, value in plain.items()})
    both = estimate(learner, benchmark.train[0], FisherPass("empirical", None, 8, limit, "max"))
    for name, value in clipped.items():
        torch.testing.assert_close(both[name], value / limit)


def test_a_fisher_that_is_not_finite_is_an_error() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    with torch.no_grad():
        learner.model.backbone.clip.visual.proj.fill_(torch.nan)
    with pytest.raises(TrainingError, match="log-likelihood: values that are not finite"):
        estimate(learner, benchmark.train[0])
