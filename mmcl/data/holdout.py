"""Holdout: which rows of a data set are put aside for testing where it has no test side of its own."""

from collections.abc import Sequence
from hashlib import sha256

from mmcl.errors import DataError

SPLIT_SEED = 42
TEST_SHARE = 0.2


def held_back(
    labels: Sequence[int], names: Sequence[str], keys: Sequence[str], who: str
) -> tuple[list[int], list[int]]:
    """Rows for training and rows for testing: 20 % of each class, at least one and never all.

    What is drawn depends on the rows' own keys and nothing else: neither their order nor other classes matter, and of
    a class that grows most rows stay on their side.

    Args:
        labels: class of each row, as a position in ``names``.
        names: of the classes.
        keys: what tells each row from the others: a path below the root of the data set, or a digest of its content.
        who: the data set, for the sentence of an error.

    Returns:
        Positions of the training and of the test rows, ascending.

    Raises:
        DataError: if a class has a single row.
    """
    rows_of: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    test: set[int] = set()
    for label, rows in sorted(rows_of.items()):
        if len(rows) < 2:
            raise DataError(
                who,
                found=f"class {names[label]!r} has a single row",
                allowed="at least one row for training and one for testing",
                remedy="Add rows, or give test data of their own.",
            )
        drawn = sorted(rows, key=lambda row: _rank(keys[row]))
        test.update(drawn[: max(1, int(TEST_SHARE * len(rows)))])
    return [row for row in range(len(labels)) if row not in test], sorted(test)


def _rank(key: str) -> str:
    return sha256(f"{SPLIT_SEED}/{key}".encode("utf-8", "surrogatepass")).hexdigest()
