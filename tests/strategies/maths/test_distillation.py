"""Distillation terms: what they ignore, where their gradient goes, how their forms relate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.maths.distillation import (
    contrast_logits,
    head_distillation,
    image_image_term,
    image_term,
    old_heads,
    soft_cross_entropy,
    text_term,
    unit_rows,
)
from mmcl_strategies.maths.feature_distillation import mean_squared
from torch import Tensor

seeds = st.integers(0, 2**31 - 1)
temperatures = st.floats(0.5, 8.0)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, temperatures)
@settings(deadline=None, max_examples=30)
def test_both_forms_have_the_same_gradient_and_differ_by_the_entropy(seed: int, temperature: float) -> None:
    student, teacher = draw(seed, 4, 5).requires_grad_(), draw(seed + 1, 4, 5)
    forms = [soft_cross_entropy(student, teacher, temperature, divergence=kind) for kind in (False, True)]
    gradients = [torch.autograd.grad(form, student)[0] for form in forms]
    torch.testing.assert_close(gradients[0], gradients[1])
    answer = (teacher / temperature).softmax(1)
    torch.testing.assert_close(forms[0] - forms[1], -(answer * answer.log()).sum(1).mean())
    assert float(forms[1].detach()) >= -1e-12


@given(seeds, temperatures)
@settings(deadline=None, max_examples=30)
def test_gradient_is_the_difference_of_softmaxes(seed: int, temperature: float) -> None:
    student, teacher = draw(seed, 3, 4).requires_grad_(), draw(seed + 1, 3, 4)
    (gradient,) = torch.autograd.grad(soft_cross_entropy(student, teacher, temperature), student)
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(gradient, difference.detach() / (temperature * 3))


def test_squared_temperature_is_a_visible_factor() -> None:
    student, teacher = draw(0, 3, 4), draw(1, 3, 4)
    plain = soft_cross_entropy(student, teacher, 3.0)
    torch.testing.assert_close(soft_cross_entropy(student, teacher, 3.0, squared_temperature=True), 9 * plain)


def test_teacher_gets_no_gradient() -> None:
    student, teacher = draw(0, 3, 4).requires_grad_(), draw(1, 3, 4).requires_grad_()
    loss = soft_cross_entropy(student, teacher, 2.0) + mean_squared(student, teacher)
    (loss + image_image_term(student, teacher, 10.0, 2.0)).backward()
    assert teacher.grad is None


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_columns_of_new_classes_are_never_read(seed: int) -> None:
    student, teacher = draw(seed, 4, 7).requires_grad_(), draw(seed + 1, 4, 7)
    heads = old_heads(torch.tensor([0, 0, 1, 1, 1, 2, 2]), n_old=5)
    loss = head_distillation(student, teacher, heads, 2.0)
    teacher[:, 5:] = float("nan")
    torch.testing.assert_close(head_distillation(student, teacher, heads, 2.0), loss)
    torch.testing.assert_close(head_distillation(student, teacher[:, :5], heads, 2.0), loss)
    assert float(torch.autograd.grad(loss, student)[0][:, 5:].abs().sum()) == 0.0


def test_heads_are_summed_and_each_has_its_own_softmax() -> None:
    student, teacher = draw(2, 3, 4), draw(3, 3, 4)
    heads = old_heads(torch.tensor([0, 0, 1, 1]), n_old=4)
    parts = [soft_cross_entropy(student, teacher, 2.0, columns=columns) for columns in heads]
    torch.testing.assert_close(head_distillation(student, teacher, heads, 2.0), parts[0] + parts[1])
    single = head_distillation(student, teacher, old_heads(torch.zeros(4, dtype=torch.long), 4), 2.0)
    torch.testing.assert_close(single, soft_cross_entropy(student, teacher, 2.0))


def test_no_old_class_gives_zero_with_a_gradient() -> None:
    student = draw(0, 3, 4).requires_grad_()
    loss = head_distillation(student, draw(1, 3, 4), old_heads(torch.zeros(4, dtype=torch.long), 0), 2.0)
    assert float(loss.detach()) == 0.0
    assert float(torch.autograd.grad(loss, student)[0].abs().sum()) == 0.0


@given(seeds, st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=20)
def test_contrast_logits_ignore_the_length_of_features(seed: int, factor: float) -> None:
    features, keys = draw(seed, 3, 6), draw(seed + 1, 4, 6)
    torch.testing.assert_close(contrast_logits(factor * features, keys, 20.0), contrast_logits(features, keys, 20.0))
    assert float(contrast_logits(features, keys, 20.0).abs().max()) <= 20.0 + 1e-9
    torch.testing.assert_close(unit_rows(features).norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_teacher_texts_on_both_sides_leave_the_text_tower_without_gradient() -> None:
    images, texts = draw(0, 4, 6).requires_grad_(), draw(1, 5, 6).requires_grad_()
    teacher_texts = draw(2, 5, 6)
    answer = contrast_logits(draw(3, 4, 6), teacher_texts, 100.0)
    logits = contrast_logits(images, teacher_texts, 100.0)
    (image_term(logits, answer, 2.0) + text_term(logits, answer, 2.0)).backward()
    assert images.grad is not None
    assert texts.grad is None


def test_text_term_averages_over_texts() -> None:
    logits, answer = draw(0, 4, 6), draw(1, 4, 6)
    doubled = text_term(torch.cat([logits, logits], dim=1), torch.cat([answer, answer], dim=1), 2.0)
    torch.testing.assert_close(doubled, text_term(logits, answer, 2.0))


@pytest.mark.parametrize("term", [text_term, lambda s, t, T: image_term(s.T, t.T, T)], ids=["text", "transposed image"])
def test_one_image_makes_the_text_term_vanish(term: object) -> None:
    assert float(term(draw(0, 1, 6), draw(1, 1, 6), 2.0)) == 0.0  # type: ignore[operator]


def test_image_image_term_leaves_out_the_image_itself() -> None:
    student, teacher = draw(0, 4, 6).requires_grad_(), draw(1, 4, 6)
    loss = image_image_term(student, teacher, 10.0, 2.0)
    cosines = [10.0 * unit_rows(rows) @ unit_rows(rows).T for rows in (student, teacher)]
    others = ~torch.eye(4, dtype=torch.bool)
    rows = [matrix[others].reshape(4, 3) for matrix in cosines]
    torch.testing.assert_close(loss, soft_cross_entropy(rows[0], rows[1], 2.0, squared_temperature=True))
    assert bool(torch.autograd.grad(loss, student)[0].isfinite().all())


def test_equal_models_have_no_divergence_and_no_feature_error() -> None:
    features, texts = draw(0, 4, 6), draw(1, 5, 6)
    logits = contrast_logits(features, texts, 100.0)
    assert float(image_term(logits, logits, 2.0, divergence=True)) == pytest.approx(0.0, abs=1e-12)
    assert float(mean_squared(unit_rows(features), unit_rows(3.0 * features))) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("divergence", [True, False])
def test_entries_that_were_masked_out_add_nothing_and_give_no_gradient(divergence: bool) -> None:
    """``0 log 0`` is 0, on both sides; and of a single row whose own entry is masked nothing is left."""
    student = torch.tensor([[1.0, -1e4, 0.5]], requires_grad=True)
    teacher = torch.tensor([[0.2, -1e4, 0.9]])
    loss = soft_cross_entropy(student, teacher, 0.07, divergence=divergence)
    kept = soft_cross_entropy(student[:, [0, 2]], teacher[:, [0, 2]], 0.07, divergence=divergence)
    torch.testing.assert_close(loss, kept)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.isfinite().all()
    assert gradient[0, 1] == 0
    alone = torch.full((1, 1), -1000.0, requires_grad=True)
    assert soft_cross_entropy(alone, alone.detach(), 0.07, divergence=divergence) == 0
