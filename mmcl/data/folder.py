"""Image folders: one sub-folder per class, optionally below ``train`` and ``test``."""

from pathlib import Path

import torch

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import IMAGE_SUFFIXES, open_image
from mmcl.data.sample import Sample
from mmcl.errors import DataError

_TRAIN_SHARE = 0.8


class LabelledFiles:
    """Image files with a class each, as samples; their ids are the paths below ``root``."""

    def __init__(self, files: list[tuple[Path, int]], root: Path, task_id: int) -> None:
        self.files, self.root, self.task_id = files, root, task_id

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path, target = self.files[index]
        name = path.relative_to(self.root).as_posix()
        return Sample({IMAGE: open_image(path)}, target, name, self.task_id)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.files[index][0]


def folder_experience(folder: Path, first_id: int = 0, task_id: int = 0) -> ExperienceData:
    """Read a folder as one experience named after it; class names are folder names with blanks for underscores.

    Without ``train`` and ``test`` below it, 80 % of each class are for training, chosen with seed 42.

    Raises:
        DataError: if the folder is missing, or a class lacks training or test images.
    """
    split = (folder / "train").is_dir() and (folder / "test").is_dir()
    root = folder / "train" if split else folder
    classes = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not classes:
        raise DataError(
            f"image folder {folder}",
            found="no sub-folder" if folder.is_dir() else "no such folder",
            allowed="one sub-folder of images per class, optionally below train and test",
            remedy="Arrange the images as FOLDER/CLASS/IMAGE.",
        )
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    generator = torch.Generator().manual_seed(42)
    for offset, name in enumerate(classes):
        images = _images(root / name)
        if split:
            seen, unseen = images, _images(folder / "test" / name)
        else:
            order = torch.randperm(len(images), generator=generator).tolist()
            kept = min(max(1, int(_TRAIN_SHARE * len(images))), len(images) - 1)
            seen, unseen = [images[i] for i in order[:kept]], [images[i] for i in order[kept:]]
        if not seen or not unseen:
            raise DataError(
                f"image folder {folder}",
                found=f"class {name!r} has {len(seen)} training and {len(unseen)} test images",
                allowed="at least one of each",
                remedy="Add images or remove the class folder.",
            )
        train += [(path, first_id + offset) for path in seen]
        test += [(path, first_id + offset) for path in unseen]
    names = [name.replace("_", " ") for name in classes]
    return ExperienceData(
        name=folder.name,
        train=LabelledFiles(train, folder.parent, task_id),
        test=LabelledFiles(test, folder.parent, task_id),
        label_space=LabelSpace.of(names, first_id=first_id),
    )


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
