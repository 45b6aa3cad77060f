"""Answers: what a model said of every row of the test sets, as a compressed table of commas for other tools."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from typing import Any

TEST_SET = "test set"


def answers_of(experiences: int) -> str:
    """The file, below a run folder, with what the model said after so many experiences."""
    return f"predictions/{experiences}.csv.gz"


class AnswerTable:
    """A line for every row of every test set; compressed as they come, since pictures have long names.

    Attributes:
        empty: whether no line has been added.
    """

    def __init__(self) -> None:
        self.empty = True
        self._content = io.BytesIO()
        # without the time, so that a run that goes on writes the same bytes again
        self._packed = gzip.GzipFile(fileobj=self._content, mode="wb", filename="", mtime=0)

    def add(self, test_set: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows of a test set, all with the same keys as those before."""
        if not rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, [TEST_SET, *rows[0]], lineterminator="\n")
        if self.empty:
            writer.writeheader()
        writer.writerows({TEST_SET: test_set, **row} for row in rows)
        self._packed.write(text.getvalue().encode())
        self.empty = False

    def packed(self) -> bytes:
        """The whole file, to which nothing can be added then."""
        self._packed.close()
        return self._content.getvalue()
