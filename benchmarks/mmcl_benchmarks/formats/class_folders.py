"""A folder per class on both sides of a split, as ImageNet has them."""

from collections.abc import Sequence
from pathlib import Path

from mmcl.data.picture_files import folders_in
from mmcl_benchmarks.formats.imagenet_names import class_names
from mmcl_benchmarks.formats.labelled import Side, Source


def read_class_folders(folders: Sequence[Path], companion: Path) -> Source:
    """The images below a folder for training and one for the test; a class is the folder of a wnid, in sorted order.

    Args:
        folders: for training, for the test.
        companion: the data set's own list of names, read for what is none of ImageNet's thousand classes.

    Raises:
        OSError: if a folder is missing or empty.
        ValueError: if the two sides have different classes; the official validation archive of ImageNet is flat and
            has to be sorted into folders first.
    """
    train, test = folders
    classes, tested = (classes_in(folder) for folder in folders)
    if classes != tested:
        odd = sorted(set(classes) ^ set(tested))
        raise ValueError(f"{train.name} and {test.name} have different class folders, such as {odd[0]}")
    return Source(Side.below(train, classes), Side.below(test, classes), class_names(classes, companion))


def classes_in(folder: Path) -> list[str]:
    """Names of the class folders, sorted.

    Raises:
        FileNotFoundError: if there is none.
    """
    classes = [path.name for path in folders_in(folder)]
    if not classes:
        raise FileNotFoundError(f"no class folder in {folder}")
    return classes
