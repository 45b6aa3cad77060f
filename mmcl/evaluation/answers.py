"""Answers: what a model said of every row of the test sets, as a table of commas for other tools."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

TEST_SET = "test set"


def answers_csv(by_set: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line for every row of every test set; empty without any.

    Args:
        by_set: test set -> rows, all with the same keys.
    """
    rows = [{TEST_SET: name, **row} for name, rows in by_set.items() for row in rows]
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
