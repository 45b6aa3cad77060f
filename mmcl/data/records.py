"""Records: rows that are dictionaries, and what their columns hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcl.data.arrays import is_array_path
from mmcl.data.bulk import stacked
from mmcl.data.folder_sides import TEST, TRAIN, VALIDATION, side_called
from mmcl.data.labels import coded, require_one_spelling
from mmcl.data.modality import ACCELERATION, AUDIO, GYROSCOPE, IMAGE, TEXT, VIDEO
from mmcl.data.names import some
from mmcl.data.pixels import as_picture, is_picture_path
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
SIDE = "split"
ONE = "pair"  # the class of rows that have none

Columns = Mapping[str, str | None]


class Records:
    """Rows that are dictionaries; with a folder they come from a file, and images are paths below it."""

    def __init__(self, data: Any, name: str, folder: Path | None = None) -> None:
        self.data, self.name, self.folder = data, name, folder
        self.who = f"data set {name!r}"
        # rows of a list may each have other columns; those of other data sets are not read for that
        rows = data if isinstance(data, (list, tuple)) else [data[0]]
        self.known = list(getattr(data, "column_names", dict.fromkeys(column for row in rows for column in row)))
        self.begin = rows

    def table(self, label: str | None, group: str | None, columns: Columns, ready: bool) -> Table:
        """The rows under the names of their columns.

        Args:
            label: column of the class; ``None`` for rows that have none.
            group: column of the group, where it is asked for.
            columns: column -> modality.
            ready: whether values are tensors that a backbone takes as they are.
        """
        found = self.modalities(label, group, columns)
        labels, names = ([0] * len(self.data), (ONE,)) if label is None else self.classes(label)
        sides, remarks = (
            _sides(self.column(SIDE), self.who) if SIDE in self.known and SIDE not in columns else (None, [])
        )
        unused = [column for column in self.known if column not in {label, group, SIDE, *found, *columns}]
        remarks += [_unused(self.who, unused)] if unused else []
        images = next((column for column, modality in found.items() if modality == IMAGE), None)
        shown = () if images is None else (row.get(images) for row in self.begin)
        first = next((value for value in shown if value is not None), None)
        listed = self.folder is not None or is_picture_path(first)
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
            groups=self.groups(group) if group in self.known else None,
            sides=sides,
            ready=ready,
            stacked=reader.stacked if type(self.data) in (list, tuple) else None,
            columns=tuple(self.known),
            remarks=tuple(remarks),
        )

    def modalities(self, label: str | None, group: str | None, columns: Columns) -> dict[str, str]:
        """Column -> modality that it holds."""
        others = [column for column in self.known if column in columns or column not in (label, group, SIDE)]
        meant = {column: columns.get(column, COLUMNS.get(column)) for column in others}
        found = {column: modality for column, modality in meant.items() if modality is not None}
        if (label is not None and label not in self.known) or not found:
            said = f", and which one is the class with label='...'. {nearest(label, self.known)}" if label else "."
            column, kind = self._undeclared(others)
            raise DataError(
                self.who,
                found=f"the columns {', '.join(self.known)}",
                allowed=f"{f'{label} and ' if label else ''}at least one of {', '.join(COLUMNS)}",
                remedy=f"Say what a column holds with columns={{{column!r}: {kind!r}}}{said}",
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

    def _undeclared(self, columns: Sequence[str]) -> tuple[str, str]:
        """A column that nobody has said anything about, and what it might hold."""
        if not columns:
            return "img", IMAGE
        first = next((row[columns[0]] for row in self.begin if row.get(columns[0]) is not None), None)
        return columns[0], ACCELERATION if is_array_path(first) else IMAGE

    def column(self, name: str) -> list[Any]:
        """All values of a column, at once where the data set can do that without reading the others."""
        if hasattr(self.data, "column_names"):
            return list(self.data[name])
        return [self.data[row].get(name) for row in range(len(self.data))]

    def classes(self, column: str) -> tuple[list[int], tuple[str, ...]]:
        """The class of every row, and what classes are called."""
        return coded(self.column(column), self.declared(column), self.who)

    def declared(self, column: str) -> Sequence[str] | None:
        """What the numbers in a column are called, where the data set says so."""
        features = getattr(self.data, "features", None) or {}
        return getattr(features.get(column), "names", None)

    def groups(self, column: str | None) -> list[str]:
        """The domain or category of every row."""
        assert column is not None
        said, names = self.column(column), self.declared(column)
        if None in said:
            raise DataError(
                f"{self.who}, row {said.index(None)}",
                found=f"nothing in the column {column!r}",
                allowed="something in every row",
                remedy="Fill it in, or leave the row out.",
            )
        if names is not None:
            numbers, names = coded(said, names, self.who)
            return [names[number] for number in numbers]
        groups = [str(value) for value in said]
        require_one_spelling(groups, column, self.who)
        return groups


def _unused(who: str, columns: Sequence[str]) -> str:
    return (
        f"{who}: the columns {some(columns)} are not used. Say what they hold, such as columns={{{columns[0]!r}: "
        f"'image'}}, or that they are not needed, with columns={{{columns[0]!r}: None}}."
    )


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
        given = {modality: self.located(modality, said.get(column)) for column, modality in self.columns.items()}
        return given if (place := self.file(row)) is None else given | {IMAGE: place}

    def stacked(self, rows: Tensor) -> dict[str, Tensor] | None:
        said = [self.data[row] for row in rows.tolist()]
        columns = {modality: stacked([row.get(column) for row in said]) for column, modality in self.columns.items()}
        found = {modality: values for modality, values in columns.items() if values is not None}
        return found if len(found) == len(columns) else None

    def located(self, modality: str, value: Any) -> Any:
        """The value, or the file that its array is read from."""
        if modality in (IMAGE, TEXT) or not is_array_path(value):
            return value
        return Path(value) if self.folder is None else self.folder / value

    def file(self, row: int) -> Path | None:
        said = None if self.images is None else self.data[row].get(self.images)
        if not isinstance(said, (str, Path)):
            return None
        return Path(said) if self.folder is None else self.folder / said


def _sides(said: Sequence[Any], who: str) -> tuple[list[str] | None, list[str]]:
    """Which side every row is on, and what is said of it; as of folders, a training side alone is all there is.

    Without test rows the validation rows are for testing; beside them, they are for nothing.
    """
    sides = [side_called(str(value)) for value in said]
    if None in sides:
        row = sides.index(None)
        raise DataError(
            f"{who}, row {row}",
            found=f"nothing in the column {SIDE!r}" if said[row] is None else f"the split {said[row]!r}",
            allowed="train, test or validation",
            remedy=f"Correct it, or declare the column as not needed with columns={{{SIDE!r}: None}}.",
        )
    found = [side for side in sides if side is not None]
    if set(found) == {TRAIN}:
        return None, []
    if TEST not in found:
        return [TEST if side == VALIDATION else side for side in found], []
    aside = found.count(VALIDATION)
    return found, [f"{who}: {aside} validation rows are left out; there are test rows."] if aside else []
