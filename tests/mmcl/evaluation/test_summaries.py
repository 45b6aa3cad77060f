"""Scores of a result matrix: what they include, what they leave out, how NaN travels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl.evaluation import summaries as s

NAN = float("nan")


@st.composite
def matrices(draw: st.DrawFn, holes: bool = True) -> s.Array:
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    values = st.floats(0, 100)
    cells = st.one_of(values, st.just(NAN)) if holes else values
    return np.array([[draw(cells) for _ in range(columns)] for _ in range(rows)])


def scores(R: s.Array, R0: s.Array | None = None) -> dict[str, float | s.Array]:
    tasks = R.shape[1]
    row = np.full(tasks, 10.0) if R0 is None else R0
    return s.matrix_scores(R, row, np.zeros(tasks), np.full(tasks, 90.0), np.arange(tasks))


@given(matrices())
@settings(deadline=None, max_examples=60)
def test_no_score_warns_or_raises_whatever_is_missing(R: s.Array) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(scores(R)) == 24
        scores(np.full_like(R, np.nan))


@given(matrices(), st.floats(0, 100))
@settings(deadline=None, max_examples=30)
def test_transfer_ignores_the_zero_shot_row(R: s.Array, level: float) -> None:
    low, high = scores(R, np.zeros(R.shape[1])), scores(R, np.full(R.shape[1], level))
    for name in ("transfer", "avg", "forgetting", "aia", "bwt", "fwt", "last"):
        np.testing.assert_equal(low[name], high[name])


@given(matrices())
@settings(deadline=None, max_examples=30)
def test_a_column_without_a_test_set_changes_no_mean(R: s.Array) -> None:
    wider = np.hstack([R, np.full((len(R), 1), np.nan)])
    for name in ("acc", "aia", "forgetting", "bwt", "transfer", "avg", "last", "learning_acc"):
        np.testing.assert_allclose(scores(wider)[name], scores(R)[name])


@given(matrices(holes=False))
@settings(deadline=None, max_examples=30)
def test_forgetting_against_the_first_score_is_minus_backward_transfer(R: s.Array) -> None:
    np.testing.assert_equal(s.forgetting_first(R), -s.backward_transfer(R))
    if len(R) > 1:
        assert s.nan_mean(s.forgetting_per_task(R)) >= s.forgetting_first(R) - 1e-9


@given(matrices(holes=False))
@settings(deadline=None, max_examples=30)
def test_equal_test_sets_make_weighted_and_plain_scores_equal(R: s.Array) -> None:
    np.testing.assert_allclose(s.step_accuracy_weighted(R, np.full(R.shape[1], 7)), s.step_accuracy(R))


@given(matrices(holes=False), st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=30)
def test_scores_scale_with_the_unit(R: s.Array, factor: float) -> None:
    for name in ("acc", "forgetting", "bwt", "transfer", "avg"):
        np.testing.assert_allclose(scores(factor * R)[name], factor * scores(R)[name], rtol=1e-9, atol=1e-9)


def test_best_so_far_excludes_the_last_row() -> None:
    R = np.array([[50.0, 0.0], [80.0, 90.0]])
    assert s.forgetting_per_task(R)[0] == -30.0
    assert s.backward_transfer(R) == 30.0


def test_best_so_far_starts_when_the_task_was_learned() -> None:
    R = np.array([[10.0, 99.0, 0.0], [10.0, 60.0, 0.0], [10.0, 50.0, 70.0]])
    assert s.forgetting_per_task(R)[1] == 10.0


def test_forgetting_needs_a_second_experience() -> None:
    assert np.isnan(s.forgetting_step(np.array([[80.0, 20.0]]))[0])


def test_transfer_is_a_mean_of_means() -> None:
    R = np.array([[90.0, 60.0, 30.0], [90.0, 90.0, 50.0], [90.0, 90.0, 90.0]])
    np.testing.assert_array_equal(s.transfer_per_task(R), [NAN, 60.0, 40.0])
    assert s.transfer(R) == 50.0
    assert s.transfer_rowwise(R) == pytest.approx((45.0 + 50.0) / 2)


def test_zero_is_a_score_and_not_a_hole() -> None:
    assert s.nan_mean([0.0, 1.0, NAN]) == 0.5
    assert np.isnan(s.nan_mean([]))


def test_samples_without_weight_do_not_count() -> None:
    assert s.weighted_nan_mean(np.array([1.0, 5.0, NAN]), np.array([2.0, 0.0, 3.0])) == 1.0


def test_forward_transfer_is_measured_just_before_learning() -> None:
    R = np.array([[90.0, 40.0, 1.0], [90.0, 90.0, 70.0]])
    assert s.forward_transfer(R, np.array([0.0, 10.0, 20.0])) == pytest.approx((30.0 + 50.0) / 2)


@given(st.permutations(range(5)))
def test_reordering_undoes_the_alphabet(order: list[int]) -> None:
    trained = np.arange(25.0).reshape(5, 5)
    alphabetical = np.empty_like(trained)
    alphabetical[np.ix_(order, order)] = trained
    np.testing.assert_array_equal(s.in_training_order(alphabetical, order), trained)


def test_one_data_set_has_no_transfer() -> None:
    found = s.mtil_scores([[70.0]], [0])
    assert found.transfer.shape == (0,)
    assert np.isnan(found.transfer_mean)
    assert found.average_mean == found.last_mean == 70.0
