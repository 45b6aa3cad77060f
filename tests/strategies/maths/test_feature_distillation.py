"""Feature distillation: what each loss ignores, and what it is a mean of."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.maths.distillation import unit_rows
from mmcl_strategies.maths.feature_distillation import (
    cosine_distance,
    dimension_divergence,
    mean_distance,
    mean_squared,
)
from torch import Tensor

seeds = st.integers(0, 10_000)


def draw(seed: int, rows: int = 4, width: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(rows, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher


@given(seeds)
def test_each_loss_is_its_definition_row_by_row(seed: int) -> None:
    student, teacher = draw(seed)
    rows = list(zip(student, teacher, strict=True))
    torch.testing.assert_close(
        mean_squared(student, teacher), torch.stack([(s - t).square().mean() for s, t in rows]).mean()
    )
    torch.testing.assert_close(mean_distance(student, teacher), torch.stack([(s - t).norm() for s, t in rows]).mean())
    cosines = torch.stack([s @ t / (s.norm() * t.norm()) for s, t in rows])
    torch.testing.assert_close(cosine_distance(student, teacher), 1 - cosines.mean())
    divergences = []
    for s, t in rows:
        p, q = (t / 0.5).softmax(0), (s / 0.5).softmax(0)
        divergences.append((p * (p / q).log()).sum())
    torch.testing.assert_close(dimension_divergence(student, teacher, 0.5), torch.stack(divergences).mean())


@given(seeds)
def test_unit_squares_and_cosines_ignore_lengths_and_raw_ones_do_not(seed: int) -> None:
    student, teacher = draw(seed)
    torch.testing.assert_close(cosine_distance(3 * student, teacher), cosine_distance(student, teacher))
    # for unit rows |s - t|^2 = 2 (1 - cos)
    unit = mean_squared(unit_rows(student), unit_rows(teacher)) * student.shape[1]
    torch.testing.assert_close(unit, 2 * cosine_distance(student, teacher))
    assert float(mean_squared(3 * student, teacher)) != pytest.approx(float(mean_squared(student, teacher)))


@pytest.mark.parametrize(
    "loss", [mean_squared, cosine_distance, mean_distance, lambda s, t: dimension_divergence(s, t, 0.07)]
)
def test_equal_features_cost_nothing_and_the_teacher_gets_no_gradient(loss: object) -> None:
    student, teacher = (rows.requires_grad_() for rows in draw(0))
    assert float(loss(student, student.detach()).detach()) == pytest.approx(0, abs=1e-12)  # type: ignore[operator]
    loss(student, teacher).backward()  # type: ignore[operator]
    assert teacher.grad is None
    assert student.grad is not None


def test_the_distance_has_a_finite_gradient_where_it_is_zero() -> None:
    student, _ = draw(0)
    student.requires_grad_()
    mean_distance(student, student.detach()).backward()
    assert student.grad is not None
    assert not student.grad.any()
