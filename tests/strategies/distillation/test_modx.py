"""Mod-X's card: which rows are kept, what is summed, and what becomes of the logit scale."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.distillation.modx import ModX, alignment, kept_rows, screened_divergence

from mmcl.build import surroundings
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, weights


def features(seed: int, rows: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 4, generator=generator, dtype=torch.float64) for _ in range(4)]


def test_of_equal_entries_the_first_counts() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert kept_rows(scores).tolist() == [True, False, True]


@given(seed=st.integers(0, 10_000))
def test_each_direction_has_its_own_screening(seed: int) -> None:
    image, text, old_image, old_text = features(seed)
    found = alignment(image, text, old_image, old_text)
    swapped = alignment(text, image, old_text, old_image)
    torch.testing.assert_close(found.image_to_text, swapped.text_to_image)
    torch.testing.assert_close(found.text_to_image, swapped.image_to_text)


def test_a_row_that_the_old_model_gets_wrong_has_neither_value_nor_gradient() -> None:
    scores = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    answer = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.8, 0.1], [0.2, 0.0, 0.7]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(screened_divergence(scores, answer), scores)
    assert not gradient[0].any()
    assert gradient[1:].abs().sum() > 0
    expected = torch.nn.functional.kl_div(
        scores[1:].log_softmax(1), answer[1:].log_softmax(1), reduction="sum", log_target=True
    )
    torch.testing.assert_close(screened_divergence(scores, answer), expected)


def test_the_divergence_is_a_sum_over_the_batch_of_unscaled_cosines() -> None:
    # orthonormal pairs: the old model gets every row right
    eye = torch.eye(4, dtype=torch.float64)
    old, new = (eye, eye), (eye, (eye + 0.5 * eye.roll(1, 0)))
    found = alignment(*new, *old).image_to_text
    unit = new[1] / new[1].norm(dim=1, keepdim=True)
    p, q = eye.softmax(1), (eye @ unit.T).softmax(1)
    torch.testing.assert_close(found, (p * (p / q).log()).sum())
    assert float(found) > 2 * float((p * (p / q).log()).sum(1).mean())


class Terms(StrategyPlugin):
    """Notes the terms of every step and both divergences of its batch."""

    def __init__(self) -> None:
        self.found: list[tuple[int, list[float], list[float]]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        new, old = learner.output.features, learner.teacher("previous").output(learner.batch).features
        own = alignment(new[IMAGE], new[TEXT], old[IMAGE], old[TEXT])
        terms = [learner.loss_terms[f"modx/{name}"] for name in ("image-to-text", "text-to-image")]
        self.found.append(
            (len(learner.batch.targets), [float(v.detach()) for v in terms], [float(v.detach()) for v in own])
        )


@pytest.mark.parametrize("batch_size", [4, 5])
@pytest.mark.parametrize("strength", [None, 20.0, 40.0])
def test_each_direction_has_half_the_strength_and_the_authors_weight_on_any_batch(
    strength: float | None, batch_size: int
) -> None:
    """Of 20 and 280 pairs; the last batch of an epoch is smaller."""
    benchmark, terms = toy_pairs(), Terms()
    strategies = {"modx": ModX(strength=strength), "terms": terms}
    learner = toy_learner(benchmark, strategies, batch_size=batch_size, lr=1e-2, iterations=6)
    learner.train(benchmark.train[0])
    assert {pairs for pairs, *_ in terms.found} == ({4} if batch_size == 4 else {5, 2})
    moved = 0
    for pairs, found, divergences in terms.found:
        alpha = 20.0 * 280 / pairs if strength is None else strength
        assert found == pytest.approx([alpha / 2 * value for value in divergences], rel=1e-4, abs=1e-8)
        moved += divergences[0] > 1e-6 and abs(divergences[0] - divergences[1]) > 1e-3 * divergences[0]
    assert moved > 1


def test_the_teacher_is_the_model_handed_over_and_in_evaluation_mode() -> None:
    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"modx": ModX()}, lr=1e-2)
    learner.train(benchmark.train[0])
    handed_over = weights(learner)
    learner.train(benchmark.train[1])
    teacher = learner.teacher("previous")
    assert all(torch.equal(value, handed_over[name]) for name, value in teacher.weights().items())
    assert not any(module.training for module in teacher.model.modules())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert any(not torch.equal(value, handed_over[name]) for name, value in weights(learner).items())


def test_the_logit_scale_is_trained_and_kept_within_its_bounds() -> None:
    for start, train, moved in ((2.0, True, True), (2.0, False, False), (math.log(100) + 0.2, True, True)):
        benchmark = toy_pairs()
        learner = toy_learner(benchmark, {"modx": ModX(train_logit_scale=train)}, lr=1e-2, schedule="constant")
        scale = learner.model.get_parameter("backbone.clip.logit_scale")
        scale.data.fill_(start)
        learner.train(benchmark.train[0])
        assert (float(scale.detach()) != start) is moved
        if train:
            assert 0 <= float(scale.detach()) <= math.log(100) + 1e-6


@pytest.mark.parametrize("others", [(), ("token_embedding.weight",)])
def test_what_the_user_has_frozen_stays_as_it_is_even_where_it_is_the_default(others: tuple[str, ...]) -> None:
    benchmark = toy_pairs()
    names = [f"backbone.clip.{name}" for name in ("logit_scale", *others)]
    patterns = ("*logit_scale", *(f"*{name}" for name in others))
    learner = toy_learner(benchmark, {"modx": ModX()}, lr=1e-2, freeze=patterns)
    before = weights(learner)
    learner.train(benchmark.train[0])
    after = weights(learner)
    for name in names:
        assert torch.equal(before[name], after[name])


def test_the_clamp_comes_after_the_step() -> None:
    seen: list[float] = []

    class Peek(StrategyPlugin):
        def after_training_iteration(self, learner: Learner, **_: object) -> None:
            seen.append(float(learner.model.get_parameter("backbone.clip.logit_scale").detach()))

    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"modx": ModX(), "peek": Peek()}, lr=3.0, schedule="constant", warmup=0)
    learner.model.get_parameter("backbone.clip.logit_scale").data.fill_(0.5)
    learner.train(benchmark.train[0])
    assert len(seen) == 4
    assert all(0 <= value <= math.log(100) + 1e-6 for value in seen)
    assert any(value in (0.0, pytest.approx(math.log(100))) for value in seen)


def test_the_first_experience_can_be_left_to_the_task_loss() -> None:
    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"modx": ModX(first=False)})
    learner.train(benchmark.train[0])
    assert set(learner.loss_terms) == {"task"}
    learner.train(benchmark.train[1])
    assert set(learner.loss_terms) == {"task", "modx/image-to-text", "modx/text-to-image"}


def test_a_benchmark_of_classes_is_refused_with_the_reason() -> None:
    with pytest.raises(CompositionError, match="needs pairs of images and texts without classes"):
        check_composition([ModX()], ["modx"], surroundings(benchmark=toy_benchmark()))
    check_composition([ModX()], ["modx"], surroundings(benchmark=toy_pairs()))
