"""Labelled: pairs of a value and a label, as torch's and torchvision's map-style data sets give them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from mmcl.data.bulk import stacked
from mmcl.data.labels import coded
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.pixels import as_picture, is_picture_path
from mmcl.data.table import Table


def labelled_table(data: Any, name: str, ready: bool) -> Table:
    """Pairs of something and a label."""
    first = data[0][0]
    listed = is_picture_path(first)
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
        stacked=pairs.stacked if _in_memory(data) else None,
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

    def stacked(self, rows: Tensor) -> dict[str, Tensor] | None:
        found = _column(self.data, rows)
        return None if found is None else {self.modality: found}

    def file(self, row: int) -> Path | None:
        return Path(self.data[row][0]) if self.listed else _file(self.data, row)


def _origin(data: Any) -> Any:
    """The data set behind torch's ``Subset``, or behind a subset of a subset."""
    while hasattr(data, "indices") and hasattr(data, "dataset"):
        data = data.dataset
    return data


def _in_memory(data: Any) -> bool:
    """Whether rows are what lies in a list or in whole tensors, and not what some code makes of them."""
    if type(data) is Subset:
        return _in_memory(data.dataset)
    return type(data) in (list, tuple, TensorDataset)


def _column(data: Any, rows: Tensor) -> Tensor | None:
    """The first elements of some rows as one tensor."""
    if type(data) is Subset:
        return _column(data.dataset, torch.tensor([data.indices[row] for row in rows.tolist()]))
    if type(data) is TensorDataset:
        return data.tensors[0].index_select(0, rows)
    return stacked([data[row][0] for row in rows.tolist()])


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
    return Path(first) if first is not None and is_picture_path(first) else None


class Shown:
    """Pairs of a picture and what it shows in words, as rows with the columns ``image`` and ``text``."""

    column_names = ("image", "text")

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [self[row][key] for row in range(len(self))]
        return dict(zip(self.column_names, self.data[key], strict=False))
