"""Makes: data sets of other libraries as rows that can be read by index."""

from collections.abc import Mapping
from typing import Any

from mmcl.data.folder_sides import side_called
from mmcl.data.names import some
from mmcl.errors import DataError


def rows_of(data: Any, name: str) -> Any:
    """A data set as rows by number; data frames become lists of dictionaries in which ``None`` stands for nothing.

    Raises:
        DataError: if it has no rows, cannot be read by number, or is a dictionary of splits or of columns.
    """
    who = f"data set {name!r}"
    if isinstance(data, Mapping):
        raise _dictionary(data, who)
    data = _frame_rows(data, who)
    if isinstance(data, bytes) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            who,
            found=f"a {type(data).__name__}, which cannot be read by index",
            allowed="a map-style data set, rows that are dictionaries, a data frame, or the path of a file or folder",
            remedy="Collect an iterable data set in a list first.",
        )
    if not len(data):
        raise DataError(who, found="no row", allowed="at least one row", remedy="Check its source.")
    return data


def has_columns(data: Any) -> bool:
    """Whether something is a data frame, a table of Arrow or a data set of Hugging Face."""
    return hasattr(data, "columns") or hasattr(data, "column_names")


def _frame_rows(data: Any, who: str) -> Any:
    """The rows of a data frame or an Arrow table as dictionaries; anything else as it is."""
    if hasattr(data, "to_dicts"):  # polars
        return data.to_dicts()
    if hasattr(data, "to_pylist") and hasattr(data, "column_names"):  # Arrow
        return data.to_pylist()
    if not hasattr(data, "iloc") or not hasattr(data, "columns"):
        return data
    names = [str(column) for column in data.columns]
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise DataError(
            who,
            found=f"several columns that are called {twice[0]!r}",
            allowed="names that tell the columns of a data frame apart",
            remedy="Rename them.",
        )
    plain = data.astype(object).where(data.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in plain.itertuples(index=False, name=None)]


def _dictionary(data: Mapping[Any, Any], who: str) -> DataError:
    """What to say of a dictionary: Hugging Face's ``DatasetDict`` holds splits, others hold columns or data sets."""
    keys = list(map(str, data))
    if any(map(side_called, keys)):
        found, remedy = f"a dictionary of the splits {some(keys)}", f"Name the split: data[{keys[0]!r}]."
    else:
        found = f"a dictionary of {some(keys) or 'nothing'}"
        remedy = "Give rows; columns become rows with [dict(zip(data, row)) for row in zip(*data.values())]."
    return DataError(who, found=found, allowed="one data set, whose rows are read by number", remedy=remedy)
