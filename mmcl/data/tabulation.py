"""Tabulation: labelled data sets of any make as tables.

Three makes are understood by what they are, without importing their libraries:

- map-style data sets of torch and torchvision: ``data[i]`` is an image and a label (``ImageFolder``, ``CIFAR10``,
  a ``Subset`` of one, a list of pairs). The image may be a PIL image, an array ``uint8[H, W(, 3)]``, the path of an
  image file, or a tensor that goes into the model as it is. A first element that is any other text is a text.
- rows that are dictionaries, as Hugging Face's ``datasets`` give them: columns with the names of ``COLUMNS`` are
  modalities, ``label`` is the class. A row may lack a value (``None``).
- a CSV file in UTF-8 with a header and the same columns; images are paths relative to the file.

Labels are read without decoding images where the data set has them apart: ``targets`` or ``labels`` of torchvision,
columns of Hugging Face.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmcl.data.modality import ACCELERATION, AUDIO, GYROSCOPE, IMAGE, TEXT, VIDEO
from mmcl.data.reference import IMAGE_SUFFIXES
from mmcl.data.table import Table
from mmcl.errors import DataError, nearest

COLUMNS: Mapping[str, str] = {
    "image": IMAGE,
    "caption": TEXT,
    "text": TEXT,
    "video": VIDEO,
    "audio": AUDIO,
    "acceleration": ACCELERATION,
    "gyroscope": GYROSCOPE,
}
SIDES = ("train", "test")


def tabulated(data: Any, name: str, *, label: str = "label", domain: str = "domain", side: str = "split") -> Table:
    """Any of the makes above as a table.

    Args:
        data: a map-style data set, rows, or the path of a CSV file.
        name: begins the ids of its samples.
        label: column of the class, in dictionaries and files.
        domain: column of the domain, if there is one.
        side: column with ``train`` or ``test``, if there is one.

    Raises:
        DataError: if it is none of them, is empty, lacks a column, or a label has no name.
    """
    columns = {"label": label, "domain": domain, "side": side}
    if isinstance(data, (str, Path)):
        return _from_rows(_csv_rows(Path(data)), name, columns, folder=Path(data).parent)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            f"data set {name!r}",
            found=f"a {type(data).__name__}, which cannot be read by index",
            allowed="a map-style data set, rows that are dictionaries, or the path of a CSV file",
            remedy="Collect an iterable data set in a list first.",
        )
    if not len(data):
        raise DataError(f"data set {name!r}", found="no row", allowed="at least one row", remedy="Check its source.")
    first = data[0]
    return _from_rows(data, name, columns) if isinstance(first, Mapping) else _from_pairs(data, first[0], name)


def _from_pairs(data: Any, first: Any, name: str) -> Table:
    """Pairs of something and a label; ``first`` is the first thing."""
    modality = TEXT if isinstance(first, str) and Path(first).suffix.lower() not in IMAGE_SUFFIXES else IMAGE
    labels, names = _coded(_targets(data), getattr(_origin(data), "classes", None), name)
    return Table(
        name=name,
        names=names,
        labels=labels,
        modalities=frozenset({modality}),
        values=lambda row: {modality: data[row][0]},
        ids=str,
        files=lambda row: _file(data, row),
    )


def _from_rows(data: Any, name: str, columns: Mapping[str, str], folder: Path | None = None) -> Table:
    """Rows that are dictionaries; with ``folder`` they come from a file and images are paths below it."""
    known = list(getattr(data, "column_names", data[0]))
    label = columns["label"]
    found = {column: COLUMNS[column] for column in known if column in COLUMNS}
    if label not in known or not found:
        raise DataError(
            f"data set {name!r}",
            found=f"the columns {', '.join(known)}",
            allowed=f"{label} and at least one of {', '.join(COLUMNS)}",
            remedy=f"Rename the columns, or say which one holds the class. {nearest(label, known)}",
        )
    features = getattr(data, "features", None) or {}
    labels, names = _coded(_column(data, label), getattr(features.get(label), "names", None), name)

    def values(row: int) -> dict[str, Any]:
        said = data[row]
        given = {modality: said[column] for column, modality in found.items()}
        if folder is not None and given.get(IMAGE) is not None:
            given[IMAGE] = folder / given[IMAGE]
        return given

    def file(row: int) -> Path | None:
        path = data[row].get("image") if folder is not None else None
        return None if path is None or folder is None else folder / path

    domain, side = columns["domain"], columns["side"]
    return Table(
        name=name,
        names=names,
        labels=labels,
        modalities=frozenset(found.values()),
        values=values,
        ids=str,
        files=file,
        domains=[str(value) for value in _column(data, domain)] if domain in known else None,
        sides=_sides(_column(data, side), name) if side in known else None,
    )


def _csv_rows(path: Path) -> list[dict[str, str | None]]:
    """The rows of a file; empty cells are missing values.

    Raises:
        DataError: if it cannot be read, has no row, or a row has another number of cells than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"CSV file {path}",
            found=f"it cannot be read ({error})",
            allowed="a comma-separated file in UTF-8 with a header",
            remedy="Check the path and the encoding.",
        ) from error
    odd = next((number for number, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if not rows or odd is not None:
        raise DataError(
            f"CSV file {path}",
            found="no row below the header"
            if odd is None
            else f"line {odd} has another number of cells than the header",
            allowed="one cell per column in every row",
            remedy="Put texts that contain commas between double quotes.",
        )
    return [{column: cell or None for column, cell in row.items()} for row in rows]


def _coded(raw: Sequence[Any], declared: Sequence[str] | None, name: str) -> tuple[list[int], tuple[str, ...]]:
    """Labels as positions in a list of class names; without declared names, the labels themselves in sorted order."""
    raw = [value.item() if isinstance(value, (Tensor, np.generic)) else value for value in raw]
    kinds = {type(value) for value in raw}
    if not (kinds <= {int, bool} or kinds <= {str}):
        raise DataError(
            f"data set {name!r}",
            found=f"labels of type {', '.join(sorted(kind.__name__ for kind in kinds))}",
            allowed="whole numbers everywhere, or names everywhere",
            remedy="Give every row one label.",
        )
    if declared is None:
        values = sorted(set(raw))
        position = {value: i for i, value in enumerate(values)}
        return [position[value] for value in raw], tuple(map(str, values))
    names = tuple(map(str, declared))
    position = {text: i for i, text in enumerate(names)} if kinds == {str} else {i: i for i in range(len(names))}
    unknown = next((value for value in raw if value not in position), None)
    if unknown is not None:
        raise DataError(
            f"data set {name!r}",
            found=f"the label {unknown!r}",
            allowed=f"one of its {len(names)} classes",
            remedy="Remove unlabelled rows, or correct the class names.",
        )
    return [position[value] for value in raw], names


def _origin(data: Any) -> Any:
    """The data set behind torch's ``Subset``, or behind a subset of a subset."""
    while hasattr(data, "indices") and hasattr(data, "dataset"):
        data = data.dataset
    return data


def _targets(data: Any) -> Sequence[Any]:
    """The labels of pairs, read from the data set's own list if it has one."""
    if hasattr(data, "indices") and hasattr(data, "dataset"):
        whole = _targets(data.dataset)
        return [whole[index] for index in data.indices]
    for attribute in ("targets", "labels"):
        listed = getattr(data, attribute, None)
        if listed is not None and len(listed) == len(data):
            return list(listed)
    return [data[row][1] for row in range(len(data))]


def _file(data: Any, row: int) -> Path | None:
    """The file behind a row: torchvision's folders list theirs, and pairs may begin with a path."""
    if hasattr(data, "indices") and hasattr(data, "dataset"):
        return _file(data.dataset, data.indices[row])
    listed = getattr(data, "samples", data if isinstance(data, list) else ())
    first = listed[row][0] if row < len(listed) else None
    return Path(first) if isinstance(first, (str, Path)) and Path(first).suffix.lower() in IMAGE_SUFFIXES else None


def _column(data: Any, column: str) -> Sequence[Any]:
    """All values of a column, at once where the data set can do that without reading the others."""
    if hasattr(data, "column_names"):
        return list(data[column])
    return [data[row][column] for row in range(len(data))]


def _sides(said: Sequence[Any], name: str) -> list[str]:
    sides = [str(value) for value in said]
    if unknown := sorted(set(sides) - set(SIDES)):
        raise DataError(
            f"data set {name!r}",
            found=f"the split {unknown[0]!r}",
            allowed=" or ".join(SIDES),
            remedy="Leave validation rows out, or call them train or test.",
        )
    return sides
