"""Places: own data where they lie, as rows that are dictionaries.

DATA.csv              a header, and a row in each line; files are named relative to it
DATA/CLASS/PICTURE    classes by folder, optionally below DATA/train and DATA/test
DATA/                 what ``save_to_disk`` of Hugging Face's ``datasets`` wrote
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl.data.csv_file import csv_rows
from mmcl.data.folder_sides import TEST, TRAIN, VALIDATION, side_called, sides_below
from mmcl.data.labels import require_one_spelling
from mmcl.data.names import some
from mmcl.data.picture_files import folders_in, left_out_remark, pictures_below
from mmcl.errors import DataError

_SAVED = ("dataset_dict.json", "dataset_info.json")  # by which a saved data set is known


@dataclass(frozen=True)
class Place:
    """What lies in a place.

    Attributes:
        rows: dictionaries by number.
        root: below which the files lie that they name, if they name any.
        remarks: what has been left out.
    """

    rows: Any
    root: Path | None
    remarks: tuple[str, ...] = ()


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
    return _saved_rows(path) if _is_saved(path) else _picture_rows(path)


def is_data_set(path: Path) -> bool:
    """Whether a path is one data set by itself: a file, or what Hugging Face has saved."""
    return not path.is_dir() or _is_saved(path)


def sets_below(folder: Path) -> dict[str, Path]:
    """The data sets in a folder by name: its sub-folders and CSV files, sorted.

    Raises:
        DataError: if there is none, or two have one name.
    """
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.name[0] != "."]
    found = sorted([*folders_in(folder), *files], key=lambda path: path.stem if path.is_file() else path.name)
    sets = {path.stem if path.is_file() else path.name: path for path in found}
    if len(sets) < max(1, len(found)):
        raise DataError(
            f"folder {folder}",
            found="a sub-folder and a CSV file of one name" if found else "neither sub-folders nor CSV files",
            allowed="a data set in a sub-folder or a CSV file of its own, for each domain or task",
            remedy="Arrange them as FOLDER/NAME or FOLDER/NAME.csv.",
        )
    return sets


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED)


def _picture_rows(folder: Path) -> Place:
    """A row for every picture below a class folder; blanks stand for the underscores of class names."""
    sides = sides_below(folder)
    split = sides.test is not None
    root = folder if split else sides.train
    who, listing = f"image folder {folder}", pictures_below(folder)
    rows: list[dict[str, str]] = []
    used: set[Path] = set()
    for side, top in ((TRAIN, sides.train), (TEST, sides.test)):
        files = [] if top is None else [path for path in listing.files if top in path.parents and path.parent != top]
        classes = [path.relative_to(top).parts[0] for path in files]  # type: ignore[arg-type]
        require_one_spelling(classes, "class folder", who)
        for path, text in zip(files, classes, strict=True):
            row = {"image": path.relative_to(root).as_posix(), "label": text.replace("_", " ")}
            rows.append(row | ({"split": side} if split else {}))
        used.update(files)
    if not rows:
        raise DataError(
            who,
            found="no picture in a sub-folder",
            allowed="one sub-folder of pictures per class, optionally below train and test",
            remedy="Arrange the pictures as FOLDER/CLASS/PICTURE.",
        )
    unused = sorted({*listing.left_out, *listing.files} - used)
    return Place(rows, root, tuple(left_out_remark(who, unused, folder)))


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
