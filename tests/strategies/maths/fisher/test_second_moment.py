"""A few rows stand for many: sums of squares of anything linear are kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.maths.fisher.second_moment import SecondMoment
from torch import Tensor

seeds = st.integers(0, 2**31 - 1)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def collected(rows: Tensor, tolerance: float = 0.0, pending: int = 256) -> Tensor:
    moment = SecondMoment(tolerance, pending)
    for row in rows:
        moment.add(row)
    return moment.rows()


def squares(rows: Tensor, jacobian: Tensor) -> Tensor:
    return (rows @ jacobian).square().sum(0)


@given(seeds, st.integers(1, 40), st.integers(1, 12), st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_sums_of_squares_are_kept(seed: int, count: int, width: int, pending: int) -> None:
    rows, jacobian = draw(seed, count, width), draw(seed + 1, width, 7)
    torch.testing.assert_close(squares(collected(rows, 0.0, pending), jacobian), squares(rows, jacobian))


@given(seeds, st.floats(1e-6, 0.3), st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_no_more_than_the_tolerated_share_is_lost(seed: int, tolerance: float, pending: int) -> None:
    rows = draw(seed, 60, 10) * torch.logspace(0, -4, 10, dtype=torch.float64)
    kept = collected(rows, tolerance, pending)
    lost = 1 - float(kept.square().sum() / rows.square().sum())
    assert -1e-12 <= lost <= tolerance + 1e-12
    assert bool((squares(kept, draw(seed + 1, 10, 5)) <= squares(rows, draw(seed + 1, 10, 5)) * (1 + 1e-9)).all())


def test_dependent_rows_need_no_more_than_their_rank() -> None:
    rows = draw(0, 200, 3) @ draw(1, 3, 50)
    assert len(collected(rows, 1e-12)) == 3
    assert len(collected(draw(2, 5, 50), 1e-12)) == 5


def test_shapes_do_not_matter_and_zeros_take_no_room() -> None:
    moment = SecondMoment(0.0)
    assert moment.rows().shape == (0, 0)
    moment.add(torch.zeros(2, 3))
    assert moment.rows().shape == (0, 6)
    moment.add(torch.ones(2, 3, requires_grad=True))
    (row,) = moment.rows()
    torch.testing.assert_close(row.square(), torch.ones(6))
    assert not row.requires_grad


@pytest.mark.parametrize("scale", [1e-20, 1e15])
def test_single_precision_rows_of_any_size(scale: float) -> None:
    rows, jacobian = draw(3, 30, 8).float() * scale, draw(4, 8, 4).float()
    torch.testing.assert_close(squares(collected(rows) / scale, jacobian), squares(rows / scale, jacobian))
