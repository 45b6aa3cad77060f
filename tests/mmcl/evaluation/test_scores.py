import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl.evaluation.metric import AMONG_OWN
from mmcl.evaluation.result_matrix import BEFORE_TRAINING
from mmcl.evaluation.scores import Scores

COLUMNS = ["first", "second"]


def of_two(values: list[float]) -> Scores:
    """A run over two experiences: rows before training, after the first and after the second."""
    scores = Scores(COLUMNS, "accuracy", paired=True)
    for number, row in enumerate((BEFORE_TRAINING, *COLUMNS)):
        row_of = dict(zip(COLUMNS, values[2 * number :], strict=False))
        scores.put(row, number - 1, row_of, dict.fromkeys(COLUMNS, 50.0 / (number + 1)), {AMONG_OWN: row_of})
    return scores


@given(st.lists(st.floats(0, 100), min_size=6, max_size=6))
def test_a_run_goes_on_from_what_its_checkpoint_holds_with_columns_for_what_has_joined(values: list[float]) -> None:
    before = of_two(values)
    after = Scores([*COLUMNS, "third"], "accuracy", paired=True)
    after.go_on(json.loads(json.dumps(before.to_dict())))
    assert after.rows == before.rows == [BEFORE_TRAINING, *COLUMNS]
    for old, new in (
        (before.matrix, after.matrix),
        (before.chance, after.chance),
        (before.further[AMONG_OWN], after.further[AMONG_OWN]),
    ):
        assert new.columns == [*COLUMNS, "third"]
        assert new.complete[:, :2].tolist() == old.complete.tolist()
        assert all(map(math.isnan, new.complete[:, 2]))


def test_forward_transfer_compares_with_guessing_just_before_a_column_is_learned() -> None:
    scores = of_two([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    assert scores.summarised([1, 3])["chance"] == [50.0, 25.0]
    assert scores.summarised([1, 3])["test_sizes"] == [1, 3]


def test_a_column_that_no_row_reaches_yet_has_no_chance() -> None:
    scores = Scores([*COLUMNS, "third"], "accuracy", paired=True)
    scores.put(BEFORE_TRAINING, -1, dict.fromkeys(COLUMNS, 1.0), dict.fromkeys(COLUMNS, 50.0), {})
    assert scores.summarised([1, 1, 1])["chance"] == [50.0, None, None]


def test_what_is_counted_beside_begins_with_the_row_that_has_it() -> None:
    scores = Scores(COLUMNS, "accuracy", paired=True)
    scores.put(BEFORE_TRAINING, -1, {"first": 1.0}, {"first": 50.0}, {})
    assert scores.further == {}
    scores.put("first", 0, {"first": 2.0}, {"first": 50.0}, {"pool": {"first": 3.0}})
    assert scores.further["pool"].complete[1].tolist() == pytest.approx([3.0, math.nan], nan_ok=True)
