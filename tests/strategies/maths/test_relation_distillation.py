"""Relation distillation: each loss against its definition in loops, and what it does not see."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.maths.relation_distillation import (
    angle_huber,
    cross_modal_divergence,
    distance_huber,
    gram_mse,
    same_modality_divergence,
)
from torch import Tensor

seeds = st.integers(0, 10_000)
rows = st.integers(1, 5)


def draw(seed: int, count: int, *, parts: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 3, generator=generator, dtype=torch.float64) for _ in range(parts)]


def huber(z: Tensor) -> Tensor:
    return z.square() / 2 if abs(float(z)) < 1 else z.abs() - 0.5


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.log() - q.log())).sum()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


@given(seeds, rows)
def test_similarity_across_the_modalities(seed: int, count: int) -> None:
    student, other, teacher, teacher_other = draw(seed, count, parts=4)
    expected = torch.zeros((), dtype=torch.float64)
    for (s, so), (t, to) in (
        ((student, other), (teacher, teacher_other)),
        ((other, student), (teacher_other, teacher)),
    ):
        for i in range(count):
            p, q = (torch.stack([cosine(a[i], b[j]) for j in range(count)]) / 0.3 for a, b in ((t, to), (s, so)))
            expected = expected + kl(p.softmax(0), q.softmax(0)) / count / 2
    torch.testing.assert_close(cross_modal_divergence(student, other, teacher, teacher_other, 0.3), expected)


@given(seeds, st.integers(2, 5))
def test_similarity_within_a_modality_leaves_the_own_entry_out(seed: int, count: int) -> None:
    student, teacher = draw(seed, count)
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(count):
        others = [j for j in range(count) if j != i]
        p, q = (torch.stack([cosine(a[i], a[j]) for j in others]) / 0.3 for a in (teacher, student))
        expected = expected + kl(p.softmax(0), q.softmax(0)) / count
    torch.testing.assert_close(same_modality_divergence(student, teacher, 0.3), expected)


def test_with_the_own_entry_little_else_is_compared() -> None:
    student, teacher = draw(0, 4)
    masked = same_modality_divergence(student, teacher, 0.07)
    assert float(same_modality_divergence(student, teacher, 0.07, mask_own=False)) < 0.3 * float(masked)


@given(seeds, rows)
def test_relational_distances(seed: int, count: int) -> None:
    student, teacher = draw(seed, count)

    def distances(e: Tensor) -> list[list[Tensor]]:
        table = [[(e[i] - e[j]).norm() for j in range(count)] for i in range(count)]
        positive = [d for row in table for d in row if float(d) > 0]
        mean = torch.stack(positive).mean() if positive else torch.tensor(1.0)
        return [[d / mean for d in row] for row in table]

    mine, yours = distances(student), distances(teacher)
    expected = [huber(mine[i][j] - yours[i][j]) for i in range(count) for j in range(count)]
    torch.testing.assert_close(distance_huber(student, teacher), torch.stack(expected).mean())


@given(seeds, st.integers(1, 4))
def test_relational_angles(seed: int, count: int) -> None:
    student, teacher = draw(seed, count)

    def angle(e: Tensor, i: int, a: int, b: int) -> Tensor:
        return torch.zeros((), dtype=e.dtype) if i in (a, b) else cosine(e[a] - e[i], e[b] - e[i])

    triples = [(i, a, b) for i in range(count) for a in range(count) for b in range(count)]
    expected = torch.stack([huber(angle(student, *t) - angle(teacher, *t)) for t in triples]).mean()
    torch.testing.assert_close(angle_huber(student, teacher), expected)


def test_cosines_of_gram_matrices() -> None:
    student, teacher = draw(1, 3)
    expected = [
        (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])).square() for i in range(3) for j in range(3)
    ]
    torch.testing.assert_close(gram_mse(student, teacher), torch.stack(expected).mean())


@pytest.mark.parametrize(
    "loss", [gram_mse, distance_huber, angle_huber, lambda s, t: same_modality_divergence(s, t, 0.1)]
)
def test_relations_do_not_see_a_rotation_of_the_space(loss: object) -> None:
    student, _ = draw(2, 5)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert float(loss(student @ rotation, student)) == pytest.approx(0, abs=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("loss", [distance_huber, angle_huber])
def test_gradients_are_right_and_finite_for_samples_that_coincide(loss: object) -> None:
    student, teacher = draw(3, 4)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student.clone().requires_grad_())  # type: ignore[operator]
    student[1] = student[0]
    student.requires_grad_()
    loss(student, teacher).backward()  # type: ignore[operator]
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    assert float(student.grad.abs().max()) < 10
