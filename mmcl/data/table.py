"""Table: labelled rows of any make behind one face, and some of them as the samples of an experience."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.data.reference import open_image
from mmcl.data.sample import Sample
from mmcl.errors import DataError


@dataclass(frozen=True)
class Table:
    """Rows with a class each.

    Attributes:
        name: begins the ids of its samples.
        names: of the classes.
        labels: of every row, as positions in ``names``.
        modalities: that a row may have.
        values: row -> modality -> raw value or ``None``.
        ids: row -> sample id within the table.
        files: row -> the file it is read from, if it has one of its own.
        domains: of every row, if the table says so.
        sides: ``train`` or ``test`` of every row, if the table says so.
    """

    name: str
    names: tuple[str, ...]
    labels: Sequence[int]
    modalities: frozenset[str]
    values: Callable[[int], Mapping[str, Any]]
    ids: Callable[[int], str]
    files: Callable[[int], Path | None]
    domains: Sequence[str] | None = None
    sides: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class TableSamples:
    """Some rows of a table as samples of one experience.

    Args:
        table: where the rows are.
        rows: which ones, in which order.
        targets: their class ids.
        task_id: of all samples.
    """

    def __init__(self, table: Table, rows: Sequence[int], targets: Sequence[int], task_id: int) -> None:
        self.table, self.rows, self.targets, self.task_id = table, rows, targets, task_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = self.rows[index]
        name = self.sample_id(index)
        try:
            values = {m: _raw(m, v) for m, v in self.table.values(row).items() if v is not None}
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"sample {name}",
                found=f"it cannot be read ({error})",
                allowed="rows that can be decoded",
                remedy="Repair or remove it; nothing has been trained on it.",
            ) from error
        finished = [modality for modality, value in values.items() if isinstance(value, Tensor)]
        if 0 < len(finished) < len(values):
            raise DataError(
                f"sample {name}",
                found=f"a tensor for {', '.join(finished)} and raw values for the rest",
                allowed="tensors everywhere, or raw values everywhere",
                remedy="Leave out the data set's transform: the backbone brings its own preprocessing.",
            )
        return Sample(values, self.targets[index], name, self.task_id, finished=bool(finished))

    def sample_id(self, index: int) -> str:
        """The id of a sample, without reading it."""
        return f"{self.table.name}/{self.table.ids(self.rows[index])}"

    def path(self, index: int) -> Path | None:
        """The file of a sample, if it has one of its own."""
        return self.table.files(self.rows[index])


def _raw(modality: str, value: Any) -> Any:
    """A value as backbones' preprocessing takes it."""
    if modality != IMAGE or isinstance(value, Tensor):
        return value
    if isinstance(value, (str, Path)):
        return open_image(Path(value))
    return (Image.fromarray(value) if isinstance(value, np.ndarray) else value).convert("RGB")
