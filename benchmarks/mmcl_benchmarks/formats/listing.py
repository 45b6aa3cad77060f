"""List files: lines ``relative/path label``, and how their paths are found below the data root.

A path leads out of no data root, uses forward slashes, and is matched exactly or else regardless of case.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmcl.errors import DataError
from mmcl_benchmarks.formats.labelled import Side

Entry = tuple[str, int]


def read_list(path: Path) -> list[Entry]:
    """Paths and labels of a list file; empty lines are left out.

    Raises:
        OSError: if it is missing.
        ValueError: if a line is not a path and a whole number; the sentence names file and line.
    """
    entries = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise ValueError(f"{path.name}, line {number}: {line!r} is not a path and a label")
        entries.append((name, int(label)))
    return entries


def listed_classes(lists: Mapping[str, Sequence[Entry]]) -> list[str]:
    """The class of every label, in label order: the folder in which its images lie.

    Args:
        lists: name of the list file -> its entries.

    Raises:
        ValueError: if labels have gaps, a label stands for two folders, or a folder has two labels.
    """
    folder_of: dict[int, str] = {}
    for place, entries in lists.items():
        for name, label in entries:
            folder = PurePosixPath(name).parent.name
            if folder_of.setdefault(label, folder) != folder:
                raise ValueError(f"{place}: label {label} stands for {folder_of[label]} and for {folder}")
    if sorted(folder_of) != list(range(len(folder_of))):
        raise ValueError(f"{' and '.join(lists)}: labels up to {max(folder_of)} for {len(folder_of)} classes")
    if len(set(folder_of.values())) != len(folder_of):
        raise ValueError(f"{' and '.join(lists)}: a class has two labels")
    return [folder_of[label] for label in range(len(folder_of))]


@dataclass
class Tree:
    """The files below a folder, by the names that lists give them. Every folder on the way is read once.

    Attributes:
        root: the folder.
        renamed: names that were found in another spelling only.
    """

    root: Path
    renamed: list[str] = field(default_factory=list)
    _entries: dict[Path, Mapping[str, str]] = field(default_factory=dict)

    def find(self, name: str) -> Path | None:
        """The file, or ``None`` if there is none.

        Raises:
            ValueError: if the name leads out of the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
            raise ValueError(f"the list leads out of the folder: {name}")
        place, exact = self.root, True
        for part in parts:
            entries = self._listed(place)
            found = entries.get(part, entries.get(part.lower()))
            if found is None:
                return None
            exact = exact and found == part
            place = place / found
        if not exact:
            self.renamed.append(name)
        return place

    def _listed(self, folder: Path) -> Mapping[str, str]:
        """Names in a folder, as they are and in lower case; nothing for what is no folder."""
        if folder not in self._entries:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            self._entries[folder] = {name.lower(): name for name in names} | {name: name for name in names}
        return self._entries[folder]


def found_side(entries: Sequence[Entry], tree: Tree, who: str, strict: bool) -> tuple[Side, int]:
    """The files of a list that exist, with their labels, and the number of those that do not.

    Raises:
        DataError: with ``strict``, if a file is missing. Otherwise a warning names the first and counts the rest.
        ValueError: if a name leads out of the folder.
    """
    paths = [tree.find(name) for name, _ in entries]
    missing = [name for (name, _), path in zip(entries, paths, strict=True) if path is None]
    if missing and strict:
        raise DataError(
            who,
            found=f"{len(missing)} listed files are missing, the first is {missing[0]}",
            allowed="all files of the list",
            remedy="Complete the copy, or leave out --set benchmark.strict=true.",
        )
    if missing:
        warnings.warn(
            f"{who}: {len(missing)} of {len(entries)} listed files are missing and left out, the first is {missing[0]}",
            stacklevel=3,
        )
    if tree.renamed:
        warnings.warn(
            f"{who}: {len(tree.renamed)} files have another spelling than in the list, the first is {tree.renamed[0]}",
            stacklevel=3,
        )
        tree.renamed.clear()
    kept = [(path, label) for (_, label), path in zip(entries, paths, strict=True) if path is not None]
    return Side([label for _, label in kept], [path for path, _ in kept]), len(missing)
