"""CSV files as rows that are dictionaries, as spreadsheets and other programs write them.

The header says what separates cells: commas, or semicolons or tabs where it is one cell otherwise. Blanks after a
separator are no part of a cell, a byte order mark is none of the header, and empty lines are no rows.
"""

import csv
import io
from pathlib import Path

from mmcl.errors import DataError

SEPARATORS = (",", ";", "\t")


def csv_rows(path: Path) -> list[dict[str, str | None]]:
    """The rows of a file; empty cells are missing values.

    Raises:
        DataError: if it cannot be read, has no row, two columns share a name, or a row has another number of cells than
            the header.
    """
    text = _text(path)
    header: list[str] = []
    rows: list[dict[str, str | None]] = []
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text), skipinitialspace=True, strict=True)
    try:
        for cells in filter(None, reader):
            if not header:
                header = [name.strip() for name in cells]
                _require_distinct(header, path)
            elif len(cells) != len(header):
                raise _refused(
                    path,
                    f"line {reader.line_num} has another number of cells than the header",
                    "one cell per column in every row",
                    "Put texts that contain the separator between double quotes.",
                )
            else:
                rows.append({name: cell or None for name, cell in zip(header, cells, strict=True)})
    except csv.Error as error:
        raise _unreadable(path, f"line {reader.line_num}: {error}") from error
    if not rows:
        raise _refused(path, "no row below the header", "a header and a row at least", "Check what has written it.")
    return rows


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if "\0" in text:
        raise _unreadable(path, "it is no text")
    return text


def _separator(text: str) -> str:
    """The one that gives the header most cells; commas in doubt."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return max(SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark, skipinitialspace=True), [])))


def _require_distinct(header: list[str], path: Path) -> None:
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise _refused(
            path,
            f"several columns that are called {twice[0]!r}",
            "names that tell the columns apart",
            "Rename or remove all but one.",
        )


def _unreadable(path: Path, reason: str) -> DataError:
    return _refused(
        path,
        f"it cannot be read ({reason})",
        "text in UTF-8 with a header, its cells separated by commas, semicolons or tabs",
        "Save it as such; other formats are read by pandas, whose data frames are data in Python.",
    )


def _refused(path: Path, found: str, allowed: str, remedy: str) -> DataError:
    return DataError(f"CSV file {path}", found=found, allowed=allowed, remedy=remedy)
