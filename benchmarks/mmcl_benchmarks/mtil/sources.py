"""The eleven data sets in their official layouts, through torchvision's classes.

Each source returns file lists or arrays, labels and class names of the train and the test side. torchvision decides
what belongs to a split; nothing is decoded here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from mmcl_benchmarks.cifar100 import FOLDER as CIFAR100_FOLDER
from mmcl_benchmarks.cifar100 import OWNER as CIFAR100_OWNER
from mmcl_benchmarks.cifar100 import SIZES as CIFAR100_SIZES
from mmcl_benchmarks.cifar100 import read_cifar100
from mmcl_benchmarks.mtil.prompts import CALTECH101, EUROSAT, readable
from mmcl_benchmarks.packed import read_idx
from mmcl_benchmarks.source import Side, Source

SPLIT_SEED = 42
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Origin:
    """Where a data set lies below the data root, who gives it away, and how large it officially is.

    Attributes:
        folder: relative path that must exist.
        owner: in words, for the error message.
        sizes: official numbers of training and test samples.
        read: ``(root, download) -> Source``.
    """

    folder: str
    owner: str
    sizes: tuple[int, int]
    read: Callable[[Path, bool], Source]


def aircraft(root: Path, download: bool) -> Source:
    """Variants; the validation split is left out."""
    train, test = (
        datasets.FGVCAircraft(root, split=split, annotation_level="variant", download=download)
        for split in ("train", "test")
    )
    return Source(_listed(train), _listed(test), train.classes)


def caltech101(root: Path, download: bool) -> Source:
    """All images but the background, 80 % of them for training."""
    data = datasets.Caltech101(root, download=download)
    folder = Path(data.root) / "101_ObjectCategories"
    files = [
        folder / data.categories[label] / f"image_{number:04d}.jpg"
        for number, label in zip(data.index, data.y, strict=True)
    ]
    train, test = _seeded_split(files, data.y)
    return Source(train, test, [readable(name, CALTECH101) for name in data.categories])


def cifar100(root: Path, download: bool) -> Source:
    """The Python version's three files; names lose their underscores."""
    source = read_cifar100(root, download)
    return Source(source.train, source.test, [name.replace("_", " ") for name in source.names])


def dtd(root: Path, download: bool) -> Source:
    """Partition 1; the validation split is left out."""
    train, test = (datasets.DTD(root, split=split, partition=1, download=download) for split in ("train", "test"))
    return Source(_listed(train), _listed(test), [name.replace("_", " ") for name in train.classes])


def eurosat(root: Path, download: bool) -> Source:
    """All images, 80 % of them for training."""
    data = datasets.EuroSAT(root, download=download)
    train, test = _seeded_split([Path(path) for path, _ in data.samples], [label for _, label in data.samples])
    return Source(train, test, [readable(name, EUROSAT) for name in data.classes])


class _Flowers(datasets.Flowers102):
    """Without the check sums, which only the original files can meet."""

    def _check_integrity(self) -> bool:
        folder = Path(self._base_folder)
        return (folder / "setid.mat").is_file() and (folder / "imagelabels.mat").is_file()


def flowers(root: Path, download: bool) -> Source:
    """The official 1,020 training images; names from ``cat_to_name.json`` if that lies beside the labels."""
    train, test = (_Flowers(root, split=split, download=download) for split in ("train", "test"))
    names = [name.replace("?", "") for name in datasets.Flowers102.classes]
    companion = root / "flowers-102" / "cat_to_name.json"
    if companion.is_file():
        by_number = json.loads(companion.read_text("utf-8"))
        names = [by_number[str(number)] for number in range(1, len(by_number) + 1)]
    return Source(_listed(train), _listed(test), names)


def food101(root: Path, download: bool) -> Source:
    """Official split."""
    train, test = (datasets.Food101(root, split=split, download=download) for split in ("train", "test"))
    return Source(_listed(train), _listed(test), [name.replace("_", " ") for name in train.classes])


def mnist(root: Path, download: bool) -> Source:
    """Official split, the four files compressed or not; the names are literally ``0 - zero`` to ``9 - nine``."""
    if download:
        datasets.MNIST(root, download=True)
    folder = root / "MNIST" / "raw"
    sides = []
    for prefix in ("train", "t10k"):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte", 3)
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte", 1)
        sides.append(Side(labels.tolist(), images=images))
    return Source(sides[0], sides[1], list(datasets.MNIST.classes))


def pets(root: Path, download: bool) -> Source:
    """``trainval`` for training."""
    train, test = (datasets.OxfordIIITPet(root, split=split, download=download) for split in ("trainval", "test"))
    sides = [Side(list(side._labels), [Path(path) for path in side._images]) for side in (train, test)]
    return Source(sides[0], sides[1], train.classes)


def cars(root: Path, download: bool) -> Source:
    """Official split; the owners no longer serve the files, so they are never downloaded."""
    sides = [datasets.StanfordCars(root, split=split) for split in ("train", "test")]
    train, test = (
        Side([int(label) for _, label in side._samples], [Path(path) for path, _ in side._samples]) for side in sides
    )
    return Source(train, test, sides[0].classes)


def sun397(root: Path, download: bool) -> Source:
    """All images in sorted order, 80 % of them for training.

    torchvision lists them in the order of the file system, so the same seed would split differently on two machines.
    Names keep the slash of nested classes and lose their underscores, as in the ZSCL release.
    """
    data = datasets.SUN397(root, download=download)
    order = sorted(range(len(data._image_files)), key=lambda i: data._image_files[i].as_posix())
    train, test = _seeded_split([data._image_files[i] for i in order], [data._labels[i] for i in order])
    return Source(train, test, [name.replace("_", " ") for name in data.classes])


ORIGINS: Mapping[str, Origin] = {
    "Aircraft": Origin("fgvc-aircraft-2013b/data", "the Visual Geometry Group, Oxford", (3334, 3333), aircraft),
    "Caltech101": Origin(
        "caltech101/101_ObjectCategories", "the California Institute of Technology", (6941, 1736), caltech101
    ),
    "CIFAR100": Origin(CIFAR100_FOLDER, CIFAR100_OWNER, CIFAR100_SIZES, cifar100),
    "DTD": Origin("dtd/dtd", "the Visual Geometry Group, Oxford", (1880, 1880), dtd),
    "EuroSAT": Origin("eurosat/2750", "the authors of EuroSAT at DFKI", (21600, 5400), eurosat),
    "Flowers": Origin("flowers-102", "the Visual Geometry Group, Oxford", (1020, 6149), flowers),
    "Food": Origin("food-101", "the Computer Vision Lab, ETH Zurich", (75750, 25250), food101),
    "MNIST": Origin("MNIST/raw", "the authors of MNIST", (60000, 10000), mnist),
    "OxfordPet": Origin("oxford-iiit-pet", "the Visual Geometry Group, Oxford", (3680, 3669), pets),
    "StanfordCars": Origin(
        "stanford_cars", "nobody any more; an existing copy is needed (Stanford's cars data)", (8144, 8041), cars
    ),
    "SUN397": Origin("SUN397", "the Princeton Vision group", (87003, 21751), sun397),
}


def _listed(data: Any) -> Side:
    return Side(list(data._labels), [Path(path) for path in data._image_files])


def _seeded_split(files: Sequence[Path], labels: Sequence[int]) -> tuple[Side, Side]:
    """``floor(0.8 n)`` for training, through ``random_split`` with a generator seeded 42, as in the ZSCL release."""
    count = int(TRAIN_SHARE * len(files))
    parts: list[Any] = torch.utils.data.random_split(
        range(len(files)),  # type: ignore[arg-type]
        [count, len(files) - count],
        generator=torch.Generator().manual_seed(SPLIT_SEED),
    )
    train, test = (Side([labels[i] for i in part.indices], [files[i] for i in part.indices]) for part in parts)
    return train, test
