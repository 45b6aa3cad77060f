"""The long format has a row for every score, and says what to do where pandas is missing."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mmcl.errors import ConfigError
from mmcl.evaluation.frame import COLUMNS, frame, long_rows

RUN: dict[str, Any] = {
    "benchmark": "mtil",
    "edition": "embedded",
    "backbone": "glyph-clip",
    "strategies": [{"name": "ewc", "strength": 3}],
    "seed": 4,
    "metric": "accuracy",
    "rows": ["before training", "birds"],
    "columns": ["birds", "cars"],
    "matrix": [[10.0, 20.0], [90.0, None]],
    "further": {"own": {"metric": "own", "rows": ["before training"], "columns": ["birds"], "matrix": [[30.0]]}},
}


def test_every_score_has_a_row_and_what_was_not_evaluated_has_none() -> None:
    rows = list(long_rows(RUN))
    names = ("metric", "experience", "trained_until", "tested_on", "score")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("accuracy", 0, "before training", "birds", 10.0),
        ("accuracy", 0, "before training", "cars", 20.0),
        ("accuracy", 1, "birds", "birds", 90.0),
        ("own", 0, "before training", "birds", 30.0),
    ]
    assert {(row["strategies"], row["seed"]) for row in rows} == {("ewc:strength=3", 4)}
    assert all(tuple(row) == COLUMNS for row in rows)


def test_without_pandas_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        frame([RUN])


def test_the_rows_of_all_runs_are_handed_to_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    rows, columns = frame([RUN, RUN])
    assert (len(rows), columns) == (8, list(COLUMNS))
