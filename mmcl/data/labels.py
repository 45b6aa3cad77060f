"""Labels: which class each row of a data set has, by number and by name."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmcl.data.names import namesakes, plain_name
from mmcl.errors import DataError


def coded(raw: Sequence[Any], declared: Sequence[Any] | None, who: str) -> tuple[list[int], tuple[str, ...]]:
    """Labels as positions in a list of class names; without declared names, the labels themselves in sorted order.

    Args:
        raw: of every row, numbers or names.
        declared: names by number; one that is a list of synonyms is called by all of them.
        who: the data set, for the sentence of an error.

    Raises:
        DataError: if labels are of several kinds or of none, a label is not declared, or rows belong to a class whose
            name another one has too, as people read names.
    """
    values = list(map(_plain, raw))
    nothing = next(
        (row for row, value in enumerate(values) if value is None or (isinstance(value, float) and math.isnan(value))),
        None,
    )
    if nothing is not None:
        raise DataError(
            f"{who}, row {nothing}",
            found="no label",
            allowed="a label in every row",
            remedy="Fill it in, or leave the row out.",
        )
    kinds = {type(value) for value in values}
    if not (kinds <= {int, bool} or kinds <= {str}):
        raise DataError(
            who,
            found=f"labels of type {', '.join(sorted(kind.__name__ for kind in kinds))}",
            allowed="whole numbers everywhere, or names everywhere",
            remedy="Turn every label into one whole number or one name, such as int(label) or str(label).",
        )
    if declared is None:
        return _as_they_are(values, who)
    names = tuple(name if isinstance(name, str) else _joined(name) for name in declared)
    numbers = {plain_name(name): number for number, name in enumerate(names)}
    labels = [
        numbers.get(plain_name(value), -1) if isinstance(value, str) else int(value) if 0 <= value < len(names) else -1
        for value in values
    ]
    if -1 in labels:
        raise DataError(
            who,
            found=f"the label {values[labels.index(-1)]!r}",
            allowed=f"one of its {len(names)} classes",
            remedy="Remove unlabelled rows, or correct the class names.",
        )
    _require_own_names(labels, names, who)
    return labels, names


def require_one_spelling(values: Sequence[str], what: str, who: str) -> None:
    """Refuse texts that people read as one and the same, and that a computer would keep apart.

    Raises:
        DataError: with both spellings.
    """
    times = Counter(values)
    spellings = sorted(times)
    if pair := namesakes(spellings):
        one, other = (spellings[position] for position in pair)
        raise DataError(
            who,
            found=f"the {what}s {one!r} ({times[one]} rows) and {other!r} ({times[other]} rows)",
            allowed=f"one spelling for every {what}",
            remedy="Write them alike if they are the same, or give them names that people can tell apart.",
        )


def _plain(value: Any) -> Any:
    """A number of torch or NumPy as one of Python."""
    single = isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1)
    return value.item() if single else value


def _as_they_are(values: Sequence[Any], who: str) -> tuple[list[int], tuple[str, ...]]:
    distinct = sorted(set(values))
    require_one_spelling([value for value in values if isinstance(value, str)], "label", who)
    position = {value: i for i, value in enumerate(distinct)}
    return [position[value] for value in values], tuple(map(str, distinct))


def _require_own_names(labels: Sequence[int], names: Sequence[str], who: str) -> None:
    present = set(labels)
    bearers: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        bearers.setdefault(plain_name(name), []).append(number)
    for numbers in bearers.values():
        if len(numbers) > 1 and present.intersection(numbers):
            raise DataError(
                who,
                found=f"the classes {' and '.join(map(str, numbers))} are both called {names[numbers[0]]!r}",
                allowed="names that people can tell apart",
                remedy="Say in the name of each what is meant.",
            )


def _joined(name: Any) -> str:
    return ", ".join(map(str, name)) if isinstance(name, (list, tuple)) else str(name)
