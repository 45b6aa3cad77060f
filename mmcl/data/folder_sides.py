"""Folder sides: the training and the test side of a folder of own pictures, as its sub-folders say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcl.data.names import plain_name, some
from mmcl.data.picture_files import folders_in, pictures_below
from mmcl.errors import DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_WORDS: Mapping[str, str] = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}


@dataclass(frozen=True)
class FolderSides:
    """Where class folders are.

    Attributes:
        train: the training side, or the folder itself.
        test: the test side, if there is one.
    """

    train: Path
    test: Path | None = None


def sides_below(folder: Path) -> FolderSides:
    """The sides of a folder, if its sub-folders are called so: ``train`` with ``test``, ``val`` or both.

    Without ``test`` the validation side is the one to test on; beside it, it is nothing. A sub-folder ``train`` beside
    other classes is a class.

    Raises:
        DataError: if sides and classes are mixed, a side is there twice, or all but the training side.
    """
    found: dict[str, list[Path]] = {}
    classes = []
    for path in folders_in(folder):
        side = side_called(path.name)
        classes += [path] if side is None else []
        if side is not None:
            found.setdefault(side, []).append(path)
    if not found or (len(found) == 1 and classes):
        return FolderSides(folder)
    if twice := [paths for paths in found.values() if len(paths) > 1]:
        raise _refused(folder, twice[0], "each side once", "Put them into one folder.")
    if TRAIN not in found:
        held = [path for paths in found.values() for path in paths]
        raise _refused(folder, held, "a folder 'train' beside them", "Add it, or give the folder of classes itself.")
    train = found.pop(TRAIN)[0]
    if not found:
        flat = any(path.parent == train for path in pictures_below(train).files)
        return FolderSides(folder if flat else train)
    if filled := [path for path in classes if pictures_below(path).files]:
        raise _refused(
            folder,
            [train, *(paths[0] for paths in found.values()), *filled],
            "either classes, or sides with classes in them",
            "Move the classes into the sides, or what is no class elsewhere.",
        )
    return FolderSides(train, found[TEST if TEST in found else VALIDATION][0])


def side_called(name: str) -> str | None:
    """The side that a folder or a split of this name holds, if it is called like one."""
    return _WORDS.get(plain_name(name).removesuffix("set").strip())


def _refused(folder: Path, paths: Sequence[Path], allowed: str, remedy: str) -> DataError:
    found = f"the sub-folders {some(path.name for path in paths)}"
    return DataError(f"image folder {folder}", found=found, allowed=allowed, remedy=remedy)
