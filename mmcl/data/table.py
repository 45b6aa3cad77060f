"""Table: labelled rows of any make behind one face, and some of them as the samples of an experience."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcl.data.arrays import open_array
from mmcl.data.bulk import Bulk, batch_from
from mmcl.data.captions import captions_of
from mmcl.data.content import content_key
from mmcl.data.holdout import SPLIT_SEED
from mmcl.data.keys import drawing_alike, places_below
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.names import some
from mmcl.data.pixels import as_picture
from mmcl.data.sample import Batch, Sample
from mmcl.errors import DataError

_DIGITS = 32  # of a digest, as an id


@dataclass(frozen=True)
class Table:
    """Rows with a class each.

    Attributes:
        name: begins the ids of its samples.
        names: of the classes.
        labels: of every row, as positions in ``names``.
        modalities: that a row may have.
        values: row -> modality -> raw value or ``None``.
        files: row -> the file its image is read from, if it has one of its own.
        root: folder of the data set, if it has one.
        groups: the domain or category of every row, if it was asked for and the table says so.
        sides: ``train`` or ``test`` of every row, if the table says so.
        ready: whether values are tensors that a backbone takes as they are.
        stacked: ``int64[n]``, rows -> modality -> their values as one tensor, or ``None`` if some of them do not go
            together; for values that lie in memory.
        columns: that the data have by name.
        known_keys: of every row, where they are known without reading it.
        remarks: what was said when it was read.
    """

    name: str
    names: tuple[str, ...]
    labels: Sequence[int]
    modalities: frozenset[str]
    values: Callable[[int], Mapping[str, Any]]
    files: Callable[[int], Path | None]
    root: Path | None = None
    groups: Sequence[str] | None = None
    sides: Sequence[str] | None = None
    ready: bool = False
    stacked: Callable[[Tensor], Mapping[str, Tensor] | None] | None = None
    columns: tuple[str, ...] = ()
    known_keys: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def rows_by_group(self, column: str) -> dict[str, list[int]]:
        """The rows of every group, in the order in which groups first occur.

        Args:
            column: that was asked for, for the sentence.

        Raises:
            DataError: if the table does not say it.
        """
        if self.groups is None:
            raise DataError(
                f"data set {self.name!r}",
                found=f"no column {column!r}",
                allowed="a column that names the group of every row, such as its domain, or one data set for each",
                remedy=f"It has {some(self.columns, 12)}; say which one it is." if self.columns else "Name the sets.",
            )
        rows: dict[str, list[int]] = {}
        for row, title in enumerate(self.groups):
            rows.setdefault(title, []).append(row)
        return rows

    def read(self, row: int) -> dict[str, Any]:
        """The raw values that a row has.

        Raises:
            DataError: if it cannot be decoded.
        """
        try:
            given = {modality: value for modality, value in self.values(row).items() if value is not None}
            values = {modality: _opened(modality, value) for modality, value in given.items()}
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"data set {self.name!r}, row {row}",
                found=f"it cannot be read ({error})",
                allowed="rows that can be decoded",
                remedy="Repair or remove it; nothing has been trained on it.",
            ) from error
        if TEXT in values and not self.ready:
            said = captions_of(values.pop(TEXT), f"data set {self.name!r}, row {row}")
            values |= {TEXT: said} if said else {}
        return values

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What tells each row from others: the path of its image below the root, or a digest of all it holds."""
        if self.known_keys is not None:
            return self.known_keys
        places = places_below([self.files(row) for row in range(len(self))], self.root)
        with drawing_alike(SPLIT_SEED) as again:
            return tuple(self._key(row, place, again) for row, place in enumerate(places))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The rows by class, key, group and side: the same for the same rows, in whatever order they are listed."""
        facts = [facts for facts in (self.labels, self.keys, self.groups, self.sides) if facts is not None]
        return tuple(sorted(range(len(self)), key=lambda row: [column[row] for column in facts]))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of every row, from its key; rows that hold the same are counted."""
        found, times = [""] * len(self), Counter[str]()
        for row in self.order:
            key = self.keys[row]
            times[key] += 1
            found[row] = key if times[key] == 1 else f"{key}#{times[key]}"
        return tuple(found)

    def _key(self, row: int, place: str | None, again: Callable[[], None]) -> str:
        if place is not None and self.modalities == {IMAGE}:
            return place
        again()
        values = self.read(row)
        if place is None:
            return content_key(values)[:_DIGITS]
        beside = {modality: value for modality, value in values.items() if modality != IMAGE}
        return f"{place}+{content_key(beside)[:_DIGITS]}"


class TableSamples(Bulk):
    """Some rows of a table as samples of one experience.

    Args:
        table: where the rows are.
        rows: which ones, in which order.
        targets: their class ids.
        task_id: of all samples.
    """

    def __init__(self, table: Table, rows: Sequence[int], targets: Sequence[int], task_id: int) -> None:
        self.table, self.rows, self.targets, self.task_id = table, rows, targets, task_id
        self.finished = table.ready and table.stacked is not None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        name, values = self.sample_id(index), self.table.read(self.rows[index])
        if self.table.ready:
            _require_tensors(values, f"sample {name}")
        elif IMAGE in values:
            values[IMAGE] = as_picture(values[IMAGE], f"sample {name}")
        return Sample(values, self.targets[index], name, self.task_id, finished=self.table.ready)

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """Rows of a table that is ready and in memory, if none of them lacks a value."""
        if not self.finished or self.table.stacked is None:
            return None
        chosen = torch.tensor(indices)
        values = self.table.stacked(self._tensors[0].take(chosen))
        if values is None:
            return None
        return batch_from(
            values,
            self._tensors[1].take(chosen),
            tuple(map(self._sample_ids.__getitem__, indices)),
            torch.full((len(indices),), self.task_id),
        )

    def outline(self, index: int) -> Sample | None:
        """The sample with the path of its picture in place of the picture, if the picture has a file of its own."""
        path = self.path(index)
        if path is None:
            return None
        values: dict[str, Any] = {IMAGE: path}
        if len(self.table.modalities) > 1:  # rows of a file, which hold the path
            row = self.table.values(self.rows[index])
            values |= {name: value for name, value in row.items() if name != IMAGE and value is not None}
        return Sample(values, self.targets[index], self.sample_id(index), self.task_id)

    def sample_id(self, index: int) -> str:
        """The id of a sample, without reading it."""
        return f"{self.table.name}/{self.table.ids[self.rows[index]]}"

    def path(self, index: int) -> Path | None:
        """The file of a sample, if it has one of its own."""
        return self.table.files(self.rows[index])

    @cached_property
    def _sample_ids(self) -> tuple[str, ...]:
        """Of all samples, written once: every batch names its rows."""
        return tuple(map(self.sample_id, range(len(self))))

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        """Rows and targets, to be indexed by batches."""
        return torch.tensor(self.rows), torch.tensor(self.targets)


def _opened(modality: str, value: Any) -> Any:
    """Arrays of files; pictures are opened where they are needed."""
    return open_array(value) if modality != IMAGE and isinstance(value, Path) else value


def _require_tensors(values: Mapping[str, Any], who: str) -> None:
    raw = [f"{type(value).__name__} for {modality}" for modality, value in values.items() if not torch.is_tensor(value)]
    if raw:
        raise DataError(
            who,
            found=f"a value of type {', '.join(raw)}, though the data are said to be ready for the model",
            allowed="tensors everywhere with ready=True, or raw values",
            remedy="Leave out ready=True: the backbone brings its own preprocessing.",
        )
