"""Learning rates by step."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmcl.learning.schedule import constant, cosine_by_epoch, cosine_by_step, ending_at, unreached, warmup_cosine

totals = st.integers(1, 500)


@given(totals, st.integers(0, 500), st.floats(1e-6, 1.0))
def test_last_step_has_rate_zero(total: int, warmup: int, lr: float) -> None:
    assert warmup_cosine(total, lr, min(warmup, total), total) == 0.0


@given(totals, st.integers(1, 500), st.floats(1e-6, 1.0))
def test_warmup_rises_to_the_full_rate(total: int, warmup: int, lr: float) -> None:
    warmup = min(warmup, total)
    for schedule in (warmup_cosine, cosine_by_epoch, cosine_by_step, constant):
        rates = [schedule(step, lr, warmup, total) for step in range(warmup)]
        assert rates == sorted(rates)
        assert rates[0] == pytest.approx(lr / warmup)
        assert rates[-1] == pytest.approx(lr)


@given(st.integers(2, 300), st.floats(1e-6, 1.0))
def test_rate_never_rises_after_warmup(total: int, lr: float) -> None:
    rates = [warmup_cosine(step, lr, 0, total) for step in range(total + 1)]
    assert rates[0] == pytest.approx(lr)
    assert all(later <= earlier for earlier, later in pairwise(rates))


def test_half_way_down_the_rate_is_halved() -> None:
    assert warmup_cosine(60, 1.0, 20, 100) == pytest.approx(0.5)


def test_constant_rate_ignores_the_length_of_the_experience() -> None:
    assert constant(10_000, 0.1, 10, 0) == 0.1
    assert constant(0, 0.1, 0, 0) == 0.1


def test_a_warm_up_that_is_longer_than_the_training_is_said_with_the_experience() -> None:
    warmup = {"a": 10, "b": 10}
    assert unreached(warmup, {"a": 10, "b": 11}) == ""
    said = unreached(warmup, {"a": 9, "b": 11})
    assert said.startswith("The training of 'a' is shorter than its warm-up (9 of 10 steps)")


@given(st.integers(1, 12), st.integers(1, 9), st.floats(1e-6, 1.0))
def test_by_epochs_the_rate_is_that_of_torchs_schedule_and_constant_inside_an_epoch(
    epochs: int, epoch: int, lr: float
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(())], lr=lr)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for e in range(epochs):
        for step in range(e * epoch, (e + 1) * epoch):
            rate = cosine_by_epoch(step, lr, 0, epochs * epoch - 1, epoch)
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        annealing.step()


def test_an_epoch_that_is_not_finished_counts() -> None:
    rates = [cosine_by_epoch(step, 1.0, 0, 6, 3) for step in range(7)]  # two epochs and a step
    assert rates == pytest.approx([1.0] * 3 + [0.75] * 3 + [0.25])


@given(st.integers(1, 40), st.floats(1e-6, 10.0), st.floats(0.0, 0.9))
def test_by_steps_the_rate_is_that_of_torchs_schedule_down_to_a_share_of_the_rate(
    steps: int, lr: float, share: float
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(())], lr=lr)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=share * lr)
    for step in range(steps):
        rate = ending_at(share, cosine_by_step(step, lr, 0, steps - 1, 7), lr)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        annealing.step()
