"""Tabulation: labelled data sets of any make as tables.

Makes are understood by what they are, without importing their libraries:

- map-style data sets of torch and torchvision: ``data[i]`` is an image and a label (``ImageFolder``, ``CIFAR10``,
  a ``Subset`` of one, a list of pairs). The image may be whatever ``as_picture`` takes, or the path of an image file.
  A first element that is any other text is a text.
- rows that are dictionaries, as Hugging Face's ``datasets`` give them: columns with the names of ``COLUMNS`` are
  modalities, others are what ``columns`` says, ``label`` is the class. A row may lack a value (``None``), and its text
  may be a list of several that each say what it is (``mmcl.data.captions``).
- a data frame of pandas or polars, or a table of Arrow, with the same columns.
- the path of a CSV file with the same columns, of a folder of pictures, or of a saved data set (``mmcl.data.places``);
  pictures and arrays are paths relative to the file.

Labels are read without decoding images where the data set has them apart: ``targets`` or ``labels`` of torchvision,
columns of Hugging Face. Rows without an image file of their own are read once, since only what they hold tells them
apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcl.data.labelled import Shown, labelled_table
from mmcl.data.makes import rows_of
from mmcl.data.places import rows_at
from mmcl.data.records import Columns, Records
from mmcl.data.table import Table
from mmcl.errors import ConfigError, DataError, nearest


def tabulated(
    data: Any,
    name: str,
    *,
    label: str | None = "label",
    column: str | None = None,
    columns: Columns | None = None,
    ready: bool = False,
) -> Table:
    """Any of the makes above as a table.

    Args:
        data: a map-style data set, rows, a data frame, or the path of a file or folder.
        name: begins the ids of its samples.
        label: column of the class, in dictionaries and files; ``None`` for rows that have none. Folders of classes need
            none to be named.
        column: of the group, such as the domain, where it is asked for.
        columns: column -> modality it holds, or ``None`` if it is not needed; beside ``COLUMNS``.
        ready: whether values are tensors that a backbone takes as they are.

    Raises:
        DataError: if it is none of them, is empty, lacks a column, two columns are one modality, a label has no name
            or one that another class has too, or an image is a tensor that is not said to be ready.
    """
    if isinstance(data, (str, Path)) and str(data).strip():
        place = rows_at(Path(data))
        called = label if label is None or place.label is None else place.label
        table = Records(place.rows, name, place.root).table(called, column, columns or {}, ready)
        return replace(table, remarks=(*place.remarks, *table.remarks))
    rows = rows_of(data, name)
    first = _first(rows, name)
    if isinstance(first, Mapping):
        return Records(rows, name).table(label, column, columns or {}, ready)
    if label is None:
        return Records(Shown(rows), name).table(None, column, columns or {}, ready)
    return labelled_table(rows, name, ready)


def require_columns(columns: Columns | None, tables: Iterable[Table]) -> None:
    """Refuse columns that are said to hold something and that none of the tables has.

    Raises:
        ConfigError: naming the first one.
    """
    known = list(dict.fromkeys(column for table in tables for column in table.columns))
    for column in columns or {}:
        if not known:
            raise ConfigError(
                "columns",
                found="rows that are pairs, which have no columns",
                allowed="columns of rows that are dictionaries, or of a CSV file",
                remedy="Leave out columns=..., or give dictionaries.",
            )
        if column not in known:
            raise ConfigError(
                "columns",
                found=f"the column {column!r}",
                allowed=f"the columns of the data: {', '.join(known)}",
                remedy=nearest(column, known),
            )


def _first(rows: Any, name: str) -> Any:
    """The first row: a dictionary, or a pair.

    Raises:
        DataError: if there is none, or it is something else.
    """
    try:
        first = rows[0]
    except Exception as error:
        raise _unreadable(name, f"a first row that cannot be read ({type(error).__name__}: {error})") from error
    if isinstance(first, (tuple, list)) and first and all(isinstance(part, Mapping) for part in first):
        raise DataError(
            f"data set {name!r}",
            found="a list of data sets",
            allowed="one data set; where several may arrive, a dictionary from name to data set",
            remedy="Name each of them: {'first': rows, 'second': other_rows}.",
        )
    if not isinstance(first, Mapping) and not (isinstance(first, (tuple, list)) and len(first) > 1):
        raise _unreadable(name, f"a first row of type {type(first).__name__}")
    return first


def _unreadable(name: str, found: str) -> DataError:
    return DataError(
        f"data set {name!r}",
        found=found,
        allowed="rows by number, each a dictionary or a pair of a value and a label",
        remedy="Two arrays become rows with list(zip(images, labels)).",
    )
