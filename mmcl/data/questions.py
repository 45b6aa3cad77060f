"""Questions: what a person asks a trained model about, of any make, as samples without a class.

picture.jpg, array.npy    a file; also an array as lines of numbers in a .csv file
DATA/                     all pictures below a folder, or all arrays where the model knows no pictures
DATA.csv                  a question in each row; files are named relative to it
DATA/                     what ``save_to_disk`` of Hugging Face's ``datasets`` wrote, or such a data set in memory
data frame                a question in each row
picture, array            a value in memory
{"image": ..., "text": ...}    values of several modalities, or a row with whatever else it has
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmcl.data.arrays import is_array_path, open_array
from mmcl.data.folder_sides import side_called
from mmcl.data.makes import has_columns, rows_of
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.picture_files import pictures_below
from mmcl.data.pixels import as_picture, open_image
from mmcl.data.places import Place, is_data_set, rows_at
from mmcl.data.records import COLUMNS, Records
from mmcl.data.sample import Sample
from mmcl.data.table import Table
from mmcl.errors import DataError

CSV = "CSV file"


@dataclass(frozen=True)
class Question:
    """One thing to be asked about.

    Attributes:
        name: the file, or the row, or what number it is.
        modalities: that it may have.
        read: gives modality -> a value, or the path of a file that holds it.
    """

    name: str
    modalities: frozenset[str]
    read: Callable[[], Mapping[str, Any]]


class Questions:
    """Questions as samples; the target is the position."""

    def __init__(self, asked: Sequence[Question]) -> None:
        self.asked = list(asked)

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, index: int) -> Sample:
        question = self.asked[index]
        try:
            values = {name: _opened(name, value, question.name) for name, value in question.read().items()}
        except DataError as error:
            raise DataError(
                error.who, found=error.found, allowed=error.allowed, remedy="Leave it out, or repair it."
            ) from error
        return Sample(values, index, question.name, -1)


def questions(
    things: Any, modalities: Collection[str], columns: Mapping[str, str | None] | None = None
) -> list[Question]:
    """Whatever is asked about, one thing or several.

    Args:
        things: as above, or a list of them.
        modalities: that the model has learned from.
        columns: of rows: column -> modality, beside the usual names.

    Raises:
        DataError: if a file is missing, a folder or a table holds nothing that can be asked about, or there is no
            question at all.
    """
    every = things if isinstance(things, (list, tuple)) else [things]
    asked = [question for number, thing in enumerate(every) for question in _of(thing, number, modalities, columns)]
    if not asked:
        raise _unfit("prediction", "nothing to predict", modalities)
    return asked


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, apart from empty ones.

    Raises:
        DataError: if it cannot be read, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        found = "no line with a text"
    except (OSError, ValueError) as error:
        lines, found = [], f"it cannot be read ({error})"
    if not lines:
        raise DataError(
            f"texts {path}", found=found, allowed="a text file in UTF-8, a text in each line", remedy="Check the path."
        )
    return lines


def _of(
    thing: Any, number: int, modalities: Collection[str], columns: Mapping[str, str | None] | None
) -> Iterator[Question]:
    name, declared = f"input {number + 1}", columns or {}
    if isinstance(thing, (str, Path)):
        yield from _at(Path(thing), modalities, declared)
    elif has_columns(thing):
        yield from _rows(Place(rows_of(thing, name), None), "data frame", name, modalities, declared)
    elif isinstance(thing, Mapping):
        used = {
            column: kind for column, kind in _used(thing, modalities, declared).items() if thing[column] is not None
        }
        if not used and any(side_called(str(key)) for key in thing):
            rows_of(thing, name)  # splits, of which one is to be named
        if not used:
            raise _unfit(name, f"values for {', '.join(map(str, thing)) or 'nothing'}", modalities)
        yield _question(name, {kind: thing[column] for column, kind in used.items()})
    else:
        yield _question(name, {_alone(modalities, name): thing})


def _at(path: Path, modalities: Collection[str], columns: Mapping[str, str | None]) -> Iterator[Question]:
    if not path.exists():
        raise _unfit(f"file {path}", "no such file or folder", modalities)
    if path.suffix.lower() == ".csv" and not _is_window(path, modalities):
        yield from _rows(rows_at(path), CSV, str(path), modalities, columns)
    elif not path.is_dir():
        yield _question(str(path), {_alone(modalities, f"file {path}"): path})
    elif is_data_set(path):
        yield from _rows(rows_at(path), "saved data set", str(path), modalities, columns)
    else:
        files = _files_below(path, modalities)
        if not files:
            kind = "picture" if IMAGE in modalities else "array"
            raise _unfit(f"folder {path}", f"no {kind} in it", modalities)
        yield from (_question(str(file), {_alone(modalities, str(file)): file}) for file in files)


def _is_window(path: Path, modalities: Collection[str]) -> bool:
    """Whether a file without a header is what the model has learned from: lines of numbers."""
    if len(modalities) != 1 or {IMAGE, TEXT}.intersection(modalities):
        return False
    try:
        open_array(path)
    except DataError:
        return False
    return True


def _files_below(folder: Path, modalities: Collection[str]) -> Sequence[Path]:
    if IMAGE in modalities:
        return pictures_below(folder).files
    return sorted(path for path in folder.rglob("*") if is_array_path(path) and path.name[0] != ".")


def _rows(
    place: Place, kind: str, name: str, modalities: Collection[str], columns: Mapping[str, str | None]
) -> Iterator[Question]:
    """A question for each row, which is read when it is asked about."""
    records = Records(place.rows, name, place.root)
    used = _used(records.known, modalities, columns)
    if not used:
        raise _unfit(f"{kind} {name}", f"the columns {', '.join(records.known)}", modalities)
    table = records.table(None, None, {**dict.fromkeys(records.known), **used}, ready=False)
    for row in range(len(table)):
        here = f"{name}, line {row + 2}" if kind == CSV else f"{name}, row {row}"
        file = table.files(row) if table.modalities == {IMAGE} else None
        yield Question(here if file is None else str(file), table.modalities, partial(_row, table, row, here))


def _row(table: Table, row: int, name: str) -> Mapping[str, Any]:
    values = table.read(row)
    if not values:
        raise _unfit(name, "no value", table.modalities)
    return values


def _used(given: Iterable[Any], modalities: Collection[str], columns: Mapping[str, str | None]) -> dict[str, str]:
    """Column -> modality, of the columns that hold what the model has learned from."""
    meant = {name: columns.get(name, name if name in modalities else COLUMNS.get(name)) for name in given}
    return {name: kind for name, kind in meant.items() if kind is not None and kind in modalities}


def _question(name: str, values: Mapping[str, Any]) -> Question:
    """A question whose values are there, or in files."""
    return Question(name, frozenset(values), partial(dict, values))


def _alone(modalities: Collection[str], name: str) -> str:
    """What a value is that nobody has said more about: a picture, or the one thing that the model knows."""
    if IMAGE in modalities:
        return IMAGE
    if len(modalities) != 1 or TEXT in modalities:
        raise _unfit(name, "nothing says what it holds", modalities)
    return next(iter(modalities))


def _opened(modality: str, value: Any, name: str) -> Any:
    if modality == IMAGE:
        return open_image(value) if isinstance(value, Path) else as_picture(value, name)
    return open_array(value) if isinstance(value, Path) else value


def _unfit(who: str, found: str, modalities: Collection[str]) -> DataError:
    learned = ", ".join(sorted(modalities))
    if IMAGE in modalities:
        allowed = "pictures, folders of them, or a CSV file or saved data set with a column 'image'"
    elif TEXT in modalities:
        allowed = "a CSV file or saved data set with a column for each of them"
    else:
        allowed = ".npy files, folders of them, or a CSV file or saved data set with a column of them"
    return DataError(
        who, found=found, allowed=f"{allowed}: the model has learned from {learned}", remedy="Check what you name."
    )
