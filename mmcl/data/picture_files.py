"""Picture files below a folder: the one answer to what in it is data, and what has been left out.

Data are regular files that are called as pictures are. What systems leave behind (``.DS_Store``, ``Thumbs.db``,
``__MACOSX``, ``._0.png``) is none and not mentioned; whatever else is left out is, with hidden pictures and folders.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcl.data.names import some
from mmcl.data.pixels import is_picture_name
from mmcl.errors import DataError

_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"})
_SHOWN = 3


@dataclass(frozen=True)
class PictureFiles:
    """What lies below a folder.

    Attributes:
        files: the pictures, sorted.
        left_out: everything else but litter, sorted; a hidden folder stands for what is in it.
    """

    files: tuple[Path, ...]
    left_out: tuple[Path, ...]


def pictures_below(folder: Path) -> PictureFiles:
    """The picture files of a folder and its sub-folders; links are followed, once.

    Raises:
        DataError: if a folder cannot be read.
    """
    found = list(_below(folder, frozenset({folder.resolve()})))
    files, left_out = (tuple(sorted(path for path, data in found if data is wanted)) for wanted in (True, False))
    return PictureFiles(files, left_out)


def folders_in(folder: Path) -> list[Path]:
    """The sub-folders that may hold data, sorted; none if there is no such folder.

    Raises:
        DataError: if the folder cannot be read.
    """
    return sorted(path for path in _entries(folder) if os.path.isdir(path) and not _is_hidden(path))


def left_out_remark(who: str, left_out: Sequence[Path], root: Path) -> Iterable[str]:
    """A sentence about what is no data, if there is anything."""
    if left_out:
        shown = some((path.relative_to(root).as_posix() for path in left_out), _SHOWN)
        yield f"{who}: {len(left_out)} files or folders are left out, as hidden or no pictures: {shown}."


def _below(folder: Path, above: frozenset[Path]) -> Iterator[tuple[Path, bool]]:
    """Everything but litter, and whether it is data."""
    for path in _entries(folder):
        if path.name.lower() in _LITTER or path.name.startswith("._"):
            continue
        if not os.path.isdir(path):
            called = is_picture_name(path)
            if called or not path.name.startswith("."):
                yield path, called and os.path.isfile(path) and not path.name.startswith(".")
        elif _is_hidden(path):
            yield path, False
        elif (place := path.resolve()) not in above:
            yield from _below(path, above | {place})


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if os.path.isdir(folder) else []
    except OSError as error:
        raise DataError(
            f"folder {folder}",
            found=f"it cannot be read ({error})",
            allowed="folders that may be read",
            remedy="Correct its permissions, or move it elsewhere.",
        ) from error


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _LITTER
