"""Image folders: one sub-folder per class, optionally below ``train`` and ``test`` or ``val``."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder_sides import sides_below
from mmcl.data.holdout import held_back
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.names import plain_name, some
from mmcl.data.picture_files import PictureFiles, folders_in, left_out_remark, pictures_below
from mmcl.data.pixels import open_image
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.remarks import Remarks


class LabelledFiles:
    """Image files with a class each, as samples; their ids are ``prefix`` and the paths below ``root``."""

    def __init__(self, files: list[tuple[Path, int]], root: Path, task_id: int, prefix: str = "") -> None:
        self.files, self.root, self.task_id, self.prefix = files, root, task_id, prefix

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return replace(self.outline(index), inputs={IMAGE: open_image(self.path(index))})

    def outline(self, index: int) -> Sample:
        """The sample with the path of its image in place of the image."""
        path, target = self.files[index]
        name = self.prefix + path.relative_to(self.root).as_posix()
        return Sample({IMAGE: path}, target, name, self.task_id)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.files[index][0]


def folder_experience(
    folder: Path,
    first_id: int = 0,
    task_id: int = 0,
    *,
    name: str | None = None,
    known: Iterable[ClassLabel] = (),
    templates: Sequence[str] | None = None,
    remarks: Remarks | None = None,
) -> ExperienceData:
    """Read a folder as one experience; class names are folder names with blanks for underscores.

    Where its sub-folders are called ``train`` and ``test`` (or ``val``), classes are below them. Else 20 % of each
    class are for testing, drawn by their places in the folder.

    Args:
        folder: where the images are.
        first_id: of the classes that are not known.
        task_id: index of the experience.
        name: of the experience; by default that of the folder.
        known: classes that keep their ids where a folder has their name.
        templates: prompts of the other classes.
        remarks: takes what has been left out, and classes that may be more than one.

    Raises:
        DataError: if the folder is missing, sides and classes are mixed, a name stands for two classes, or a class
            lacks training or test images.
    """
    place = sides_below(folder)
    roots = [place.train] if place.test is None else [place.train, place.test]
    names = _class_names(roots)
    if not names:
        raise DataError(
            f"image folder {folder}",
            found="no sub-folder" if folder.is_dir() else "no such folder",
            allowed="one sub-folder of images per class, optionally below train and test",
            remedy="Arrange the images as FOLDER/CLASS/IMAGE.",
        )
    listing = pictures_below(folder)
    sides = [_labelled(listing.files, root, names) for root in roots]
    said = Remarks() if remarks is None else remarks
    for sentence in (
        *left_out_remark(f"image folder {folder}", _unused(listing, sides), folder),
        *_nested(sides, roots),
    ):
        said.add(sentence)
    if place.test is None:
        sides = _drawn(sides[0], names, place.train, folder)
    _check_sides(sides, names, folder)
    old = LabelSpace(tuple(known))
    class_of = dict(zip(names, _classes(names, old, first_id, templates, folder), strict=True))
    title = folder.name if name is None else name
    train, test = (
        LabelledFiles([(path, class_of[text].id) for path, text in files], folder, task_id, f"{title}/")
        for files in sides
    )
    space = old.restrict(label.id for label in class_of.values()).union(class_of.values())
    return ExperienceData(name=title, train=train, test=test, label_space=space)


def _class_names(roots: Sequence[Path]) -> list[str]:
    """The class folders of the training side, then those that only another side has, as people read names."""
    names = [path.name for path in folders_in(roots[0])]
    known = {plain_name(text) for text in names}
    return names + [path.name for root in roots[1:] for path in folders_in(root) if plain_name(path.name) not in known]


def _labelled(files: Iterable[Path], root: Path, names: Sequence[str]) -> list[tuple[Path, str]]:
    """The files in the class folders of a side, with the names of their classes; sorted by class."""
    exact, meant = frozenset(names), {plain_name(text): text for text in names}
    found = []
    for path in files:
        if path.is_relative_to(root) and path.parent != root:
            text = path.relative_to(root).parts[0]
            found.append((path, text if text in exact else meant[plain_name(text)]))
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def _unused(listing: PictureFiles, sides: Sequence[Sequence[tuple[Path, str]]]) -> list[Path]:
    used = {path for files in sides for path, _ in files}
    return sorted((*listing.left_out, *(path for path in listing.files if path not in used)))


def _nested(sides: Sequence[Sequence[tuple[Path, str]]], roots: Sequence[Path]) -> Iterator[str]:
    """Classes whose images all lie in sub-folders, which may be the classes that were meant."""
    inner: dict[str, set[str]] = {}
    for files, root in zip(sides, roots, strict=True):
        for path, text in files:
            parts = path.relative_to(root).parts
            inner.setdefault(text, set()).add(parts[1] if len(parts) > 2 else "")
    for text, folders in inner.items():
        if "" not in folders and len(folders) > 1:
            yield (
                f"All images of class {text!r} lie in sub-folders, which are not told apart: "
                f"{some(sorted(folders), 3)}. If these are the classes, give the folder above them."
            )


def _drawn(
    files: Sequence[tuple[Path, str]], names: Sequence[str], root: Path, folder: Path
) -> list[list[tuple[Path, str]]]:
    """Training and test files of a folder without a test side."""
    number_of = {text: number for number, text in enumerate(names)}
    keys = [path.relative_to(root).as_posix() for path, _ in files]
    rows = held_back([number_of[text] for _, text in files], names, keys, f"image folder {folder}")
    return [[files[row] for row in of_side] for of_side in rows]


def _check_sides(sides: Sequence[Sequence[tuple[Path, str]]], names: Sequence[str], folder: Path) -> None:
    counts = [Counter(text for _, text in files) for files in sides]
    for text in names:
        train, test = (count[text] for count in counts)
        if not train or not test:
            raise DataError(
                f"image folder {folder}",
                found=f"class {text!r} has {train} training and {test} test images",
                allowed="at least one of each",
                remedy="Add images or remove the class folder.",
            )


def _classes(
    names: Sequence[str], known: LabelSpace, first_id: int, templates: Sequence[str] | None, folder: Path
) -> list[ClassLabel]:
    """The class of each name: the known one that means the same, or a new one."""
    labels: list[ClassLabel] = []
    for text in names:
        same = [label for label in (*known, *labels) if plain_name(label.name) == plain_name(text)]
        if same and (len(same) > 1 or same[0] in labels):
            raise DataError(
                f"image folder {folder}",
                found=f"{text!r} stands for more than one class: {', '.join(repr(label.name) for label in same)}",
                allowed="one class of a name; case, blanks, hyphens and underscores make no difference",
                remedy="Rename the sub-folder, or put the images of one class into one.",
            )
        fresh = first_id + sum(label not in known.classes for label in labels)
        labels += same or LabelSpace.of([text.replace("_", " ")], first_id=fresh, templates=templates).classes
    return labels
