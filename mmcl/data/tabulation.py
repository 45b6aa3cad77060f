"""Tabulation: labelled data sets of any make as tables.

Three makes are understood by what they are, without importing their libraries:

- map-style data sets of torch and torchvision: ``data[i]`` is an image and a label (``ImageFolder``, ``CIFAR10``,
  a ``Subset`` of one, a list of pairs). The image may be a PIL image, an array ``uint8[H, W(, 3)]``, a tensor of pixels
  ``uint8[3, H, W]`` or the path of an image file. A first element that is any other text is a text.
- rows that are dictionaries, as Hugging Face's ``datasets`` give them: columns with the names of ``COLUMNS`` are
  modalities, others are what ``columns`` says, ``label`` is the class. A row may lack a value (``None``).
- a CSV file in UTF-8 with a header and the same columns; images are paths relative to the file.

Labels are read without decoding images where the data set has them apart: ``targets`` or ``labels`` of torchvision,
columns of Hugging Face. Rows without an image file of their own are read once, since only what they hold tells them
apart.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmcl.data.arrays import is_array_path
from mmcl.data.labels import coded, require_one_spelling
from mmcl.data.modality import ACCELERATION, AUDIO, GYROSCOPE, IMAGE, TEXT, VIDEO
from mmcl.data.names import some
from mmcl.data.pixels import as_picture, is_picture_name
from mmcl.data.places import rows_at
from mmcl.data.table import Table
from mmcl.errors import ConfigError, DataError, nearest

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
SIDE = "split"

Columns = Mapping[str, str | None]


def tabulated(
    data: Any,
    name: str,
    *,
    label: str = "label",
    domain: str | None = None,
    columns: Columns | None = None,
    ready: bool = False,
) -> Table:
    """Any of the makes above as a table.

    Args:
        data: a map-style data set, rows, or the path of a CSV file.
        name: begins the ids of its samples.
        label: column of the class, in dictionaries and files.
        domain: column of the domain, where it is asked for.
        columns: column -> modality it holds, or ``None`` if it is not needed; beside ``COLUMNS``.
        ready: whether values are tensors that a backbone takes as they are.

    Raises:
        ConfigError: if ``columns`` names one that does not exist.
        DataError: if it is none of them, is empty, lacks a column, two columns are one modality, a label has no name
            or one that another class has too, or an image is a tensor that is not said to be ready.
    """
    if isinstance(data, (str, Path)):
        place = rows_at(Path(data))
        table = _Rows(place.rows, name, place.root).table(label, domain, columns or {}, ready)
        return replace(table, remarks=(*place.remarks, *table.remarks))
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            f"data set {name!r}",
            found=f"a {type(data).__name__}, which cannot be read by index",
            allowed="a map-style data set, rows that are dictionaries, or the path of a CSV file",
            remedy="Collect an iterable data set in a list first.",
        )
    if not len(data):
        raise DataError(f"data set {name!r}", found="no row", allowed="at least one row", remedy="Check its source.")
    if isinstance(data[0], Mapping):
        return _Rows(data, name).table(label, domain, columns or {}, ready)
    if columns:
        raise ConfigError(
            f"data set {name!r}: columns",
            found="rows that are pairs, which have no columns",
            allowed="columns of rows that are dictionaries, or of a CSV file",
            remedy="Leave out columns=..., or give dictionaries.",
        )
    return _from_pairs(data, name, ready)


def _from_pairs(data: Any, name: str, ready: bool) -> Table:
    """Pairs of something and a label."""
    first = data[0][0]
    listed = _is_image_path(first)
    modality = TEXT if isinstance(first, str) and not listed else IMAGE
    if modality == IMAGE and not ready and not listed:
        as_picture(first, f"data set {name!r}, row 0")
    origin = _origin(data)
    labels, names = coded(_targets(data), getattr(origin, "classes", None), f"data set {name!r}")
    root = getattr(origin, "root", None)
    pairs = _Pairs(data, modality, listed)
    return Table(
        name=name,
        names=names,
        labels=labels,
        modalities=frozenset({modality}),
        values=pairs.values,
        files=pairs.file,
        root=Path(root) if isinstance(root, (str, Path)) else None,
        ready=ready,
    )


@dataclass(frozen=True)
class _Pairs:
    """Reads pairs; like everything that reads, it can be sent to a worker process.

    Attributes:
        data: the pairs.
        modality: of their first elements.
        listed: whether these are paths.
    """

    data: Any
    modality: str
    listed: bool

    def values(self, row: int) -> dict[str, Any]:
        return {self.modality: self.data[row][0]}

    def file(self, row: int) -> Path | None:
        return Path(self.data[row][0]) if self.listed else _file(self.data, row)


@dataclass(frozen=True)
class _Reader:
    """Reads rows that are dictionaries.

    Attributes:
        data: the rows.
        columns: column -> modality.
        images: column of the paths of image files, if there is one.
        folder: below which they lie, if it is not the working directory.
    """

    data: Any
    columns: Mapping[str, str]
    images: str | None
    folder: Path | None

    def values(self, row: int) -> dict[str, Any]:
        said = self.data[row]
        given = {modality: self.located(modality, said[column]) for column, modality in self.columns.items()}
        return given if (place := self.file(row)) is None else given | {IMAGE: place}

    def located(self, modality: str, value: Any) -> Any:
        """The value, or the file that its array is read from."""
        if modality in (IMAGE, TEXT) or not is_array_path(value):
            return value
        return Path(value) if self.folder is None else self.folder / value

    def file(self, row: int) -> Path | None:
        said = None if self.images is None else self.data[row][self.images]
        return None if said is None else Path(said) if self.folder is None else self.folder / said


class _Rows:
    """Rows that are dictionaries; with a folder they come from a file, and images are paths below it."""

    def __init__(self, data: Any, name: str, folder: Path | None = None) -> None:
        self.data, self.name, self.folder = data, name, folder
        self.who = f"data set {name!r}"
        self.known = list(getattr(data, "column_names", data[0]))

    def table(self, label: str, domain: str | None, columns: Columns, ready: bool) -> Table:
        """The rows under the names of their columns."""
        found = self.modalities(label, columns)
        features = getattr(self.data, "features", None) or {}
        labels, names = coded(self.column(label), getattr(features.get(label), "names", None), self.who)
        unused = [column for column in self.known if column not in {label, domain, SIDE, *found, *columns}]
        images = next((column for column, modality in found.items() if modality == IMAGE), None)
        first = None if images is None else self.data[0][images]
        listed = self.folder is not None or _is_image_path(first)
        if first is not None and not ready and not listed:
            as_picture(first, f"{self.who}, row 0")
        reader = _Reader(self.data, found, images if listed else None, self.folder)
        return Table(
            name=self.name,
            names=names,
            labels=labels,
            modalities=frozenset(found.values()),
            values=reader.values,
            files=reader.file,
            root=self.folder,
            domains=self.domains(domain) if domain in self.known else None,
            sides=_sides(self.column(SIDE), self.who) if SIDE in self.known else None,
            ready=ready,
            remarks=(_unused(self.who, unused),) if unused else (),
        )

    def modalities(self, label: str, columns: Columns) -> dict[str, str]:
        """Column -> modality."""
        if strange := [column for column in columns if column not in self.known]:
            raise ConfigError(
                f"{self.who}: columns",
                found=f"the column {strange[0]!r}",
                allowed=f"its columns {', '.join(self.known)}",
                remedy=nearest(strange[0], self.known),
            )
        meant = {column: columns.get(column, COLUMNS.get(column)) for column in self.known if column != label}
        found = {column: modality for column, modality in meant.items() if modality is not None}
        if label not in self.known or not found:
            raise DataError(
                self.who,
                found=f"the columns {', '.join(self.known)}",
                allowed=f"{label} and at least one of {', '.join(COLUMNS)}",
                remedy="Say what a column holds with columns={'img': 'image'}, and which one is the class with "
                f"label='...'. {nearest(label, self.known)}".rstrip(),
            )
        given = list(found.values())
        if twice := [modality for modality in given if given.count(modality) > 1]:
            both = [column for column, modality in found.items() if modality == twice[0]]
            raise DataError(
                self.who,
                found=f"the columns {some(both)}, which are all {twice[0]}",
                allowed="one column per modality",
                remedy=f"Leave one out with columns={{{both[-1]!r}: None}}.",
            )
        return found

    def column(self, name: str) -> list[Any]:
        """All values of a column, at once where the data set can do that without reading the others."""
        if hasattr(self.data, "column_names"):
            return list(self.data[name])
        return [self.data[row][name] for row in range(len(self.data))]

    def domains(self, column: str | None) -> list[str]:
        """The domain of every row."""
        assert column is not None
        said = self.column(column)
        if None in said:
            raise DataError(
                f"{self.who}, row {said.index(None)}",
                found=f"nothing in the column {column!r}",
                allowed="a domain for every row",
                remedy="Fill it in, or leave the row out.",
            )
        domains = [str(value) for value in said]
        require_one_spelling(domains, "domain", self.who)
        return domains


def _unused(who: str, columns: Sequence[str]) -> str:
    return (
        f"{who}: the columns {some(columns)} are not used. Say what they hold, such as columns={{{columns[0]!r}: "
        f"'image'}}, or that they are not needed, with columns={{{columns[0]!r}: None}}."
    )


def _is_image_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and (is_picture_name(value) or os.path.isfile(value)))


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
    """The file behind a row, where the data set lists them, as torchvision's folders do."""
    if hasattr(data, "indices") and hasattr(data, "dataset"):
        return _file(data.dataset, data.indices[row])
    listed = getattr(data, "samples", ())
    first = listed[row][0] if row < len(listed) else None
    return Path(first) if first is not None and _is_image_path(first) else None


def _sides(said: Sequence[Any], who: str) -> list[str]:
    sides = [str(value) for value in said]
    if unknown := sorted(set(sides) - set(SIDES)):
        raise DataError(
            who,
            found=f"the split {unknown[0]!r}",
            allowed=" or ".join(SIDES),
            remedy="Leave validation rows out, or call them train or test.",
        )
    return sides
