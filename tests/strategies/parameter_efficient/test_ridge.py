"""The recursion is joint ridge regression, whatever the batches; the gate leaves other rows as they are."""

import torch
from hypothesis import given
from hypothesis import strategies as st
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

WIDTH, UNITS, RIDGE = 6, 24, 0.1
State = tuple[Tensor, Tensor]


def samples(classes: int, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Expanded features and labels, each class around a point of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, WIDTH, generator=generator).double()
    labels = torch.arange(classes).repeat_interleave(per_class)
    noise = torch.randn(len(labels), WIDTH, generator=generator).double()
    layer = torch.rand(UNITS, WIDTH, generator=generator).double() - 0.5
    return expanded(unit(centres[labels] + 0.5 * noise), layer), labels


def start() -> State:
    return torch.eye(UNITS, dtype=torch.float64) / RIDGE, torch.zeros(UNITS, 0, dtype=torch.float64)


def learned(state: State, Phi: Tensor, labels: Tensor, classes: int) -> State:
    R, W = state
    return updated(R, widened(W, classes), Phi, one_hot(labels, torch.arange(classes)))


def joint(Phi: Tensor, labels: Tensor, classes: int) -> State:
    """Written once more, by the normal equations and an inverse."""
    Y = torch.nn.functional.one_hot(labels, classes).double()
    R = torch.linalg.inv(Phi.T @ Phi + RIDGE * torch.eye(UNITS, dtype=torch.float64))
    return R, R @ Phi.T @ Y


def test_over_twenty_experiences_the_recursion_is_joint_ridge_after_each() -> None:
    Phi, labels = samples(40, 5, 0)
    state = start()
    for t in range(20):
        classes = 2 * (t + 1)
        (rows,) = (labels // 2 == t).nonzero(as_tuple=True)
        for batch in rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(t))].split(3):
            state = learned(state, Phi[batch], labels[batch], classes)
        so_far = labels < classes
        for found, wanted in zip(state, joint(Phi[so_far], labels[so_far], classes), strict=True):
            assert (found - wanted).abs().max() < 1e-6
    assert torch.equal(state[0], state[0].T)


@given(st.permutations(range(24)), st.lists(st.integers(1, 30), min_size=1, max_size=24))
def test_neither_order_nor_size_of_batches_matters(order: list[int], sizes: list[int]) -> None:
    Phi, labels = samples(4, 6, 1)
    state, rows = start(), torch.tensor(order)
    while len(rows):
        count = sizes[len(rows) % len(sizes)]
        state = learned(state, Phi[rows[:count]], labels[rows[:count]], 4)
        rows = rows[count:]
    for found, wanted in zip(state, joint(Phi, labels, 4), strict=True):
        assert (found - wanted).abs().max() < 1e-8


def test_the_update_of_the_weights_takes_the_new_inverse() -> None:
    Phi, labels = samples(3, 4, 2)
    R, W = learned(start(), Phi[:6], labels[:6], 3)
    Y = one_hot(labels[6:], torch.arange(3))
    new_R, new_W = updated(R, W, Phi[6:], Y)
    torch.testing.assert_close(new_W, W + new_R @ Phi[6:].T @ (Y - Phi[6:] @ W), rtol=0, atol=1e-12)
    assert (new_W - (W + R @ Phi[6:].T @ (Y - Phi[6:] @ W))).abs().max() > 1e-2


def test_the_ridge_is_there_once_and_not_once_an_experience() -> None:
    Phi, labels = samples(6, 4, 3)
    state = start()
    for t in range(3):
        rows = labels // 2 == t
        state = learned(state, Phi[rows], labels[rows], 2 * (t + 1))
    gram = torch.linalg.inv(state[0]) - RIDGE * torch.eye(UNITS, dtype=torch.float64)
    torch.testing.assert_close(gram, Phi.T @ Phi, rtol=0, atol=1e-9)


def test_new_classes_are_columns_of_zeros_and_old_ones_stay() -> None:
    W = torch.randn(UNITS, 3).double()
    wide = widened(W, 5)
    assert torch.equal(wide[:, :3], W)
    assert not wide[:, 3:].any()
    assert torch.equal(widened(W, 3), W)


def test_the_kernel_form_is_ridge_regression_in_the_space_of_the_kernel() -> None:
    """With a linear kernel it is the primal solution; with the other one it is what its definition says."""
    Phi, labels = samples(3, 5, 4)
    Y = one_hot(labels, torch.arange(3))
    alpha = ridge_solution(Phi @ Phi.T, Y, RIDGE)
    torch.testing.assert_close(Phi.T @ alpha, joint(Phi, labels, 3)[1], rtol=0, atol=1e-9)
    rows = unit(torch.randn(5, WIDTH))
    wanted = torch.tensor([[torch.exp(-0.3 * (a - b).square().sum()) for b in rows[:3]] for a in rows]).double()
    torch.testing.assert_close(rbf_kernel(rows, rows[:3], 0.3), wanted, rtol=0, atol=1e-12)
    assert torch.allclose(rbf_kernel(rows, rows, 0.3).diag(), torch.ones(5).double(), rtol=0, atol=1e-15)


@given(st.integers(0, 10_000), st.floats(0, 1), st.lists(st.booleans(), min_size=7, max_size=7))
def test_rows_whose_zero_shot_answer_was_never_learned_keep_their_scores_bit_for_bit(
    seed: int, weight: float, known: list[bool]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    zero_shot = (5 * torch.randn(9, 7, generator=generator)).softmax(1)
    seen = torch.tensor(known)
    values = torch.randn(9, 7, generator=generator).double() * seen
    scores = fused(zero_shot, values, seen, weight)
    assert scores.dtype == zero_shot.dtype
    for row in range(9):
        if known[int(zero_shot[row].argmax())]:
            wanted = (1 - weight) * zero_shot[row].double() + weight * values[row]
            torch.testing.assert_close(scores[row].double(), wanted, rtol=0, atol=1e-6)
        else:
            assert torch.equal(scores[row], zero_shot[row])


def test_the_regression_enters_as_it_is_and_a_weight_of_zero_is_the_zero_shot_score() -> None:
    zero_shot, values = torch.rand(4, 3).softmax(1), torch.tensor([[1.3, -0.2, 0.0]]).double().expand(4, 3)
    seen = torch.tensor([True, True, True])
    assert torch.equal(fused(zero_shot, values, seen, 1.0), values.float())
    assert torch.equal(fused(zero_shot, values, seen, 0.0), zero_shot)


def test_of_classes_with_the_same_probability_the_known_one_is_the_answer_in_any_column() -> None:
    zero_shot, values = torch.tensor([[0.4, 0.4, 0.2]]), torch.tensor([[1.0, 1.0, 0.0]]).double()
    for column in (0, 1):
        seen = torch.arange(3) == column
        assert not torch.equal(fused(zero_shot, values * seen, seen, 0.5), zero_shot)
