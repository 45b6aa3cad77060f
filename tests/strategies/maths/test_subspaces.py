"""Subspaces hold the directions of most energy, uncentred, and updates are split at them."""

import pytest
import torch
from mmcl_strategies.maths.subspaces import extended, inside, moment, outside
from torch import Tensor

D = 6


def drawn(rows: int, seed: int, rank: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randn(rank, D, generator=generator, dtype=torch.float64)
    return torch.randn(rows, rank, generator=generator, dtype=torch.float64) @ spread


def nothing() -> Tensor:
    return torch.empty(D, 0, dtype=torch.float64)


def test_moments_of_batches_add_up_to_that_of_all_rows_in_double_precision() -> None:
    rows = drawn(12, 0).float()
    torch.testing.assert_close(moment(rows[:5]) + moment(rows[5:].reshape(1, 7, D)), moment(rows))
    torch.testing.assert_close(moment(rows), rows.double().T @ rows.double())


@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_a_first_basis_is_the_fewest_right_singular_vectors_with_the_share_of_the_energy(share: float) -> None:
    rows = drawn(20, 1) + 3
    _, singular, right = torch.linalg.svd(rows, full_matrices=False)
    shares = singular.square().cumsum(0) / singular.square().sum()
    count = int((shares < share).sum()) + 1
    basis = extended(nothing(), moment(rows), share)
    torch.testing.assert_close(basis @ basis.T, right[:count].T @ right[:count])


def test_rows_that_differ_from_zero_alone_have_a_direction() -> None:
    constant = torch.ones(9, D)
    basis = extended(nothing(), moment(constant), 0.9)
    torch.testing.assert_close(basis @ basis.T, torch.full((D, D), 1 / D, dtype=torch.float64))


def test_a_basis_grows_by_what_it_lacks_and_holds_what_it_held() -> None:
    old = extended(nothing(), moment(drawn(20, 2, rank=2)), 0.999)
    other = drawn(20, 3)
    wider = extended(old, moment(other), 0.9)
    assert old.shape[1] == 2
    torch.testing.assert_close(wider.T @ wider, torch.eye(wider.shape[1], dtype=torch.float64))
    torch.testing.assert_close(wider @ wider.T @ old, old)
    energy = (other @ wider).square().sum() / other.square().sum()
    assert energy >= 0.9
    one_less = torch.linalg.qr(torch.cat([old, wider[:, 2:-1]], 1)).Q
    assert (other @ one_less).square().sum() / other.square().sum() < 0.9


def test_nothing_is_added_for_rows_that_are_held_or_are_none() -> None:
    rows = drawn(20, 4, rank=3)
    basis = extended(nothing(), moment(rows), 0.999)
    assert extended(basis, moment(rows[:4]), 0.99) is basis
    assert extended(basis, torch.zeros(D, D, dtype=torch.float64), 0.99) is basis


def test_a_basis_ends_at_all_directions() -> None:
    basis = nothing()
    for seed in range(300):
        basis = extended(basis, moment(drawn(3, seed)), 0.999)
    assert basis.shape == (D, D)
    torch.testing.assert_close(basis.T @ basis, torch.eye(D, dtype=torch.float64))


def test_an_update_is_what_lies_inside_and_what_lies_outside() -> None:
    basis, update = extended(nothing(), moment(drawn(20, 5, rank=2)), 0.999), drawn(4, 6).reshape(2, 2, D)
    torch.testing.assert_close(inside(update, basis) + outside(update, basis), update)
    torch.testing.assert_close(outside(update, basis) @ basis, torch.zeros(2, 2, 2, dtype=torch.float64))
    torch.testing.assert_close(inside(inside(update, basis), basis), inside(update, basis))
