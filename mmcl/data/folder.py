"""Image folders: one sub-folder per class, optionally below ``train`` and ``test``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mmcl.data.experience_data import ExperienceData
from mmcl.data.holdout import held_back
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.names import plain_name
from mmcl.data.reference import IMAGE_SUFFIXES, open_image
from mmcl.data.sample import Sample
from mmcl.errors import DataError


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
) -> ExperienceData:
    """Read a folder as one experience; class names are folder names with blanks for underscores.

    Without ``train`` and ``test`` below it, 20 % of each class are for testing, drawn by their places in the folder.

    Args:
        folder: where the images are.
        first_id: of the classes that are not known.
        task_id: index of the experience.
        name: of the experience; by default that of the folder.
        known: classes that keep their ids where a folder has their name.
        templates: prompts of the other classes.

    Raises:
        DataError: if the folder is missing, a name stands for two classes, or a class lacks training or test images.
    """
    split = (folder / "train").is_dir() and (folder / "test").is_dir()
    roots = [folder / "train", folder / "test"] if split else [folder]
    names = sorted({path.name for root in roots for path in _class_folders(root)})
    if not names:
        raise DataError(
            f"image folder {folder}",
            found="no sub-folder" if folder.is_dir() else "no such folder",
            allowed="one sub-folder of images per class, optionally below train and test",
            remedy="Arrange the images as FOLDER/CLASS/IMAGE.",
        )
    sides = [[(path, text) for text in names for path in _images(root / text)] for root in roots]
    if not split:
        sides = _drawn(sides[0], names, folder)
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


def _drawn(files: Sequence[tuple[Path, str]], names: Sequence[str], folder: Path) -> list[list[tuple[Path, str]]]:
    """Training and test files of a folder without sides."""
    number_of = {text: number for number, text in enumerate(names)}
    keys = [path.relative_to(folder).as_posix() for path, _ in files]
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


def _class_folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."] if root.is_dir() else []


def _images(folder: Path) -> list[Path]:
    """The image files below a folder; what is hidden, there or in a hidden folder, is none."""
    if not folder.is_dir():
        return []
    visible = (path for path in folder.rglob("*") if not any(p[0] == "." for p in path.relative_to(folder).parts))
    return sorted(path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES)
