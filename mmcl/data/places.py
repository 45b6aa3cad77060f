"""Places: own data where they lie, as rows that are dictionaries.

DATA.csv              a header, and a row in each line; files are named relative to it
DATA/CLASS/PICTURE    classes by folder, optionally below DATA/train and DATA/test; or arrays in the same places
DATA/                 what ``save_to_disk`` of Hugging Face's ``datasets`` wrote
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mmcl.data.arrays import is_array_path
from mmcl.data.csv_file import csv_rows
from mmcl.data.folder_sides import TEST, TRAIN, VALIDATION, FolderSides, side_called, sides_below
from mmcl.data.labels import require_one_spelling
from mmcl.data.modality import IMAGE
from mmcl.data.names import some
from mmcl.data.picture_files import folders_in, left_out_remark, pictures_below
from mmcl.data.pixels import is_picture_name
from mmcl.errors import DataError

LABEL = "label"  # the column of the class that a folder of classes has
ARRAY = "array"  # the column of arrays in class folders, of which nothing says what they hold
_SAVED = ("dataset_dict.json", "dataset_info.json")  # by which a saved data set is known


@dataclass(frozen=True)
class Place:
    """What lies in a place.

    Attributes:
        rows: dictionaries by number.
        root: below which the files lie that they name, if they name any.
        remarks: what has been left out.
        label: column of the class, where the place itself says which one it is.
    """

    rows: Any
    root: Path | None
    remarks: tuple[str, ...] = ()
    label: str | None = None


def rows_at(path: Path) -> Place:
    """The rows of a file or a folder.

    Raises:
        DataError: if there is neither, it has none, or it cannot be read.
    """
    if not os.path.exists(path):
        raise DataError(
            f"data {path}",
            found="no such file or folder",
            allowed="a folder of pictures, a CSV file, or what save_to_disk of Hugging Face's datasets wrote",
            remedy="Correct the path; a relative one begins in the working directory.",
        )
    if not path.is_dir():
        return Place(csv_rows(path), path.parent)
    return _saved_rows(path) if _is_saved(path) else _class_rows(path)


def is_data_set(path: Path) -> bool:
    """Whether a path is one data set by itself: a file, or what Hugging Face has saved."""
    return not path.is_dir() or _is_saved(path)


def sets_below(folder: Path, classes: bool = True) -> dict[str, Path]:
    """The data sets in a folder by name: its sub-folders and CSV files, sorted.

    Args:
        folder: where they lie.
        classes: whether sub-folders of classes are among them; where texts are needed they hold what the files name.

    Raises:
        DataError: if there is none, two have one name, or a file lists what lies in a sub-folder that is one of them.
    """
    below, tables = [path for path in folders_in(folder) if classes or _is_saved(path)], _csv_files(folder)
    _require_apart(folder, {path.name for path in below}, tables)
    found = sorted([*below, *tables], key=lambda path: path.stem if path.is_file() else path.name)
    sets = {path.stem if path.is_file() else path.name: path for path in found}
    if len(sets) < max(1, len(found)):
        raise DataError(
            f"folder {folder}",
            found="a sub-folder and a CSV file of one name" if found else "neither sub-folders nor CSV files",
            allowed="a data set in a sub-folder or a CSV file of its own, for each domain or task",
            remedy="Arrange them as FOLDER/NAME or FOLDER/NAME.csv.",
        )
    return sets


def _require_apart(folder: Path, below: set[str], tables: Iterable[Path]) -> None:
    """Refuse samples that would arrive twice, in training here and in a test there."""
    for table in tables:
        cells = (cell for row in csv_rows(table) for cell in row.values() if cell and "/" in cell)
        tops = ((PurePath(cell).parts[0], cell) for cell in cells)
        if listed := next((top for top, cell in tops if top in below and os.path.exists(folder / cell)), None):
            raise DataError(
                f"folder {folder}",
                found=f"the CSV file {table.name!r}, which lists what lies in the sub-folder {listed!r} beside it",
                allowed="every sample in one data set",
                remedy=f"Name the file itself ({table}), or put it elsewhere.",
            )


def holds_sets(folder: Path, classes: bool = True) -> bool:
    """Whether a path is a folder with a data set for each of several experiences, and not one data set.

    Args:
        folder: what somebody has named.
        classes: as in ``sets_below``.
    """
    if is_data_set(folder):
        return False
    below, tables = folders_in(folder), _csv_files(folder)
    if any(map(_is_saved, below)) or not classes:
        return bool(tables) or any(map(_is_saved, below))
    if sides_below(folder).train != folder or any(map(_is_class, below)):
        return False
    return bool(tables) or any(map(folders_in, below))


def _is_class(folder: Path) -> bool:
    """Whether pictures or arrays lie in a folder itself."""
    return any(is_picture_name(path) or is_array_path(path) for path in _files_in(folder))


def _csv_files(folder: Path) -> list[Path]:
    return [path for path in _files_in(folder) if path.suffix.lower() == ".csv"]


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name[0] != "." and path.is_file()]


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED)


def _class_rows(folder: Path) -> Place:
    """A row for every picture below a class folder, or for every array where there is no picture."""
    sides = sides_below(folder)
    who, listing = f"image folder {folder}", pictures_below(folder)
    arrays = [path for path in listing.left_out if is_array_path(path) and path.is_file()]
    for column, files in ((IMAGE, listing.files), (ARRAY, arrays)):
        rows = [*_side_rows(column, files, sides, TRAIN, who), *_side_rows(column, files, sides, TEST, who)]
        if rows:
            root = sides.train if sides.test is None else folder
            unused = {*listing.left_out, *listing.files} - {root / row[column] for row in rows}
            return Place(rows, root, tuple(left_out_remark(who, sorted(unused), folder)), LABEL)
    raise DataError(
        who,
        found="no picture in a sub-folder, and no array",
        allowed="one sub-folder of pictures or arrays per class, optionally below train and test",
        remedy="Arrange the files as FOLDER/CLASS/PICTURE.",
    )


def _side_rows(column: str, files: Iterable[Path], sides: FolderSides, side: str, who: str) -> list[dict[str, str]]:
    """The rows of one side of a folder; blanks stand for the underscores of class names."""
    top = sides.train if side == TRAIN else sides.test
    if top is None:
        return []
    here = [path.relative_to(top) for path in files if top in path.parents and path.parent != top]
    require_one_spelling([path.parts[0] for path in here], "class folder", who)
    below, said = ("", {}) if sides.test is None else (f"{top.name}/", {"split": side})
    return [{column: below + path.as_posix(), LABEL: path.parts[0].replace("_", " "), **said} for path in here]


def _saved_rows(folder: Path) -> Place:
    """The rows of a saved data set; those of a dictionary of splits with the column ``split``."""
    who = f"saved data set {folder}"
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            who,
            found="Hugging Face's datasets wrote it, which is not installed",
            allowed="that library beside MMCL",
            remedy="pip install datasets",
        ) from error
    try:
        found = datasets.load_from_disk(str(folder))
        for part in found.values() if isinstance(found, Mapping) else [found]:
            part.data.validate(full=True)  # Arrow trusts its files otherwise, and ends the process over a damaged one
        if not isinstance(found, Mapping):
            return Place(found, None)
        if len(found) == 1:
            return Place(next(iter(found.values())), None)
        sides, remarks = _split(found, who)
        parts = [part.add_column("split", [side] * len(part)) for side, part in sides.items()]
        return Place(datasets.concatenate_datasets(parts), None, remarks)
    except DataError:
        raise
    except Exception as error:  # of its own kinds and of Arrow's
        raise DataError(
            who,
            found=f"it cannot be read ({type(error).__name__}: {error})",
            allowed="the complete folder as save_to_disk wrote it",
            remedy="Save it again.",
        ) from error


def _split(found: Mapping[str, Any], who: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The training and the test side of a dictionary of splits, and what is said of the others."""
    by_side = {side_called(name): name for name in found}
    held = next((side for side in (TEST, VALIDATION) if side in by_side), None)
    if TRAIN not in by_side or held is None:
        raise DataError(
            who,
            found=f"the splits {some(found)}",
            allowed="a split called train and one called test or validation, or a single one",
            remedy="Rename the splits, or save the one that is meant by itself.",
        )
    chosen = {TRAIN: found[by_side[TRAIN]], TEST: found[by_side[held]]}
    others = [name for name in found if name not in (by_side[TRAIN], by_side[held])]
    return chosen, tuple(_left_out(who, others))


def _left_out(who: str, splits: list[str]) -> Iterator[str]:
    if splits:
        yield f"{who}: the splits {some(splits)} are left out; training and test side are two others."
