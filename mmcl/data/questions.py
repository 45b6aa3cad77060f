"""Questions: what a person asks a trained model about, of any make, as samples without a class.

picture.jpg, array.npy    a file
DATA/                     all pictures below a folder, or all arrays where the model knows no pictures
DATA.csv                  a question in each row; files are named relative to it
picture, array            a value in memory
{"image": ..., "text": ...}    values of several modalities
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl.data.arrays import is_array_path, open_array
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.picture_files import pictures_below
from mmcl.data.pixels import as_picture, open_image
from mmcl.data.places import rows_at
from mmcl.data.records import COLUMNS
from mmcl.data.sample import Sample
from mmcl.errors import DataError


@dataclass(frozen=True)
class Question:
    """One thing to be asked about.

    Attributes:
        name: the file, or the row, or what number it is.
        values: modality -> a value, or the path of a file that holds it.
    """

    name: str
    values: Mapping[str, Any]


class Questions:
    """Questions as samples; the target is the position."""

    def __init__(self, asked: Sequence[Question]) -> None:
        self.asked = list(asked)

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, index: int) -> Sample:
        question = self.asked[index]
        values = {modality: _read(modality, value, question.name) for modality, value in question.values.items()}
        return Sample(values, index, question.name, -1)


def questions(
    things: Any, modalities: Collection[str], columns: Mapping[str, str | None] | None = None
) -> list[Question]:
    """Whatever is asked about, one thing or several.

    Args:
        things: as above, or a list of them.
        modalities: that the model has learned from.
        columns: of files: column -> modality, beside the usual names.

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
    name = f"input {number + 1}"
    if isinstance(thing, (str, Path)):
        yield from _at(Path(thing), modalities, columns)
    elif isinstance(thing, Mapping):
        if not thing or not thing.keys() <= set(modalities):
            raise _unfit(name, f"values for {', '.join(map(str, thing)) or 'nothing'}", modalities)
        yield Question(name, thing)
    else:
        yield Question(name, {_alone(modalities, name): thing})


def _at(path: Path, modalities: Collection[str], columns: Mapping[str, str | None] | None) -> Iterator[Question]:
    if not path.exists():
        raise _unfit(f"file {path}", "no such file or folder", modalities)
    if path.is_dir():
        files = _files_below(path, modalities)
        if not files:
            kind = "picture" if IMAGE in modalities else "array"
            raise _unfit(f"folder {path}", f"no {kind} in it", modalities)
        yield from (Question(str(file), {_alone(modalities, str(file)): file}) for file in files)
    elif path.suffix.lower() == ".csv":
        yield from _rows(path, modalities, columns or {})
    else:
        yield Question(str(path), {_alone(modalities, f"file {path}"): path})


def _files_below(folder: Path, modalities: Collection[str]) -> Sequence[Path]:
    if IMAGE in modalities:
        return pictures_below(folder).files
    return sorted(path for path in folder.rglob("*") if is_array_path(path) and path.name[0] != ".")


def _rows(path: Path, modalities: Collection[str], columns: Mapping[str, str | None]) -> Iterator[Question]:
    place = rows_at(path)
    meant = {column: columns.get(column, COLUMNS.get(column)) for column in place.rows[0]}
    used = {column: kind for column, kind in meant.items() if kind is not None and kind in modalities}
    if not used:
        raise _unfit(f"CSV file {path}", f"the columns {', '.join(meant)}", modalities)
    for line, row in enumerate(place.rows, 2):
        values = {modality: row[column] for column, modality in used.items() if row[column] is not None}
        if not values:
            raise _unfit(f"CSV file {path}, line {line}", "no value", modalities)
        located = {name: value if name == TEXT else path.parent / value for name, value in values.items()}
        yield Question(str(located[IMAGE]) if set(located) == {IMAGE} else f"{path}, line {line}", located)


def _alone(modalities: Collection[str], name: str) -> str:
    """What a value is that nobody has said more about: a picture, or the one thing that the model knows."""
    if IMAGE in modalities:
        return IMAGE
    if len(modalities) != 1 or TEXT in modalities:
        raise _unfit(name, "nothing says what it holds", modalities)
    return next(iter(modalities))


def _read(modality: str, value: Any, name: str) -> Any:
    try:
        if modality == IMAGE:
            return open_image(value) if isinstance(value, Path) else as_picture(value, name)
        return open_array(value) if isinstance(value, Path) else value
    except DataError as error:
        raise DataError(
            error.who, found=error.found, allowed=error.allowed, remedy="Leave it out, or repair it."
        ) from error


def _unfit(who: str, found: str, modalities: Collection[str]) -> DataError:
    learned = ", ".join(sorted(modalities))
    if IMAGE in modalities:
        allowed = "pictures, folders of them, or a CSV file with a column 'image'"
    elif TEXT in modalities:
        allowed = "a CSV file with a column for each of them"
    else:
        allowed = ".npy files, folders of them, or a CSV file with a column of their names"
    return DataError(
        who, found=found, allowed=f"{allowed}: the model has learned from {learned}", remedy="Check what you name."
    )
