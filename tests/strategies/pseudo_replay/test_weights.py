"""What new and replayed data count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.pseudo_replay.weights import (
    NOTHING_REPLAYED,
    Weights,
    by_classes,
    by_experiences,
    by_ratio,
    old_factor,
)


def test_with_five_experiences_old_knowledge_counts_four_fifths() -> None:
    assert by_experiences(5) == pytest.approx(Weights(0.2, 0.8))


def test_new_data_count_fully_while_there_is_nothing_to_replay() -> None:
    assert by_experiences(1) == Weights(1.0, 0.0)
    assert by_experiences(7, replayed=False) == Weights(1.0, 0.0)


@given(ratio=st.floats(0.0, 1.0))
def test_the_weights_add_up_to_one(ratio: float) -> None:
    assert sum(by_ratio(ratio)) == pytest.approx(1.0)


@given(experiences=st.integers(2, 100), classes=st.integers(1, 100))
def test_with_equal_experiences_classes_and_experiences_give_the_same_weights(experiences: int, classes: int) -> None:
    assert by_classes(old_factor(classes, classes, experiences - 1)) == pytest.approx(by_experiences(experiences))


def test_a_large_first_experience_counts_as_several() -> None:
    assert old_factor(50, 10, 1) == 5
    assert by_classes(5) == pytest.approx(Weights(1 / 6, 5 / 6))
    assert old_factor(50, 10, 5) == 9


@given(first=st.integers(1, 100), classes=st.integers(1, 100))
def test_nothing_is_old_in_the_first_experience(first: int, classes: int) -> None:
    assert old_factor(first, classes, 0) == 0
    assert by_classes(old_factor(first, classes, 0)) == NOTHING_REPLAYED


def test_a_small_first_experience_counts_as_one() -> None:
    assert [old_factor(2, 6, t) for t in (1, 2)] == [1, 2]
