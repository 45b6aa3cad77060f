"""The eleven data sets in their official layouts.

Each source returns file lists or arrays, labels and class names of the train and the test side; no image is decoded
here. torchvision fetches what can be fetched and reads the lists of those data sets where a damaged list can only be a
wrong line; where it is a structure (JSON, MATLAB, pickles), it is looked at here, so that what is wrong in a file is
told from what is wrong in a program.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from mmcl.data.picture_files import folders_in, pictures_below
from mmcl_benchmarks.formats.cifar100_files import FOLDER as CIFAR100_FOLDER
from mmcl_benchmarks.formats.cifar100_files import OWNER as CIFAR100_OWNER
from mmcl_benchmarks.formats.cifar100_files import SIZES as CIFAR100_SIZES
from mmcl_benchmarks.formats.cifar100_files import read_cifar100
from mmcl_benchmarks.formats.content import mapping, read_json, texts, whole_numbers
from mmcl_benchmarks.formats.labelled import Side, Source
from mmcl_benchmarks.formats.matlab import read_matlab
from mmcl_benchmarks.formats.packed import read_idx
from mmcl_benchmarks.mtil.prompts import CALTECH101, EUROSAT, FLOWERS, readable

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
    if download:
        datasets.Caltech101(root, download=True)
    folder = root / "caltech101" / "101_ObjectCategories"
    categories = [path.name for path in folders_in(folder) if path.name != "BACKGROUND_Google"]
    train, test = _seeded_split(Side.below(folder, categories))
    return Source(train, test, [readable(name, CALTECH101) for name in categories])


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
    if download:
        datasets.EuroSAT(root, download=True)
    folder = root / "eurosat" / "2750"
    classes = [path.name for path in folders_in(folder)]
    train, test = _seeded_split(Side.below(folder, classes))
    return Source(train, test, [readable(name, EUROSAT) for name in classes])


def flowers(root: Path, download: bool) -> Source:
    """The official 1,020 training images; names from ``cat_to_name.json`` if that lies beside the labels."""
    folder = root / "flowers-102"
    if download and not (folder / "setid.mat").is_file():
        datasets.Flowers102(root, download=True)
    labels = whole_numbers(read_matlab(folder / "imagelabels.mat", "labels"), "imagelabels.mat: 'labels'")
    label_of = dict(enumerate(labels, 1))
    sides = []
    for key in ("trnid", "tstid"):
        ids = whole_numbers(read_matlab(folder / "setid.mat", key), f"setid.mat: {key!r}")
        sides.append(Side([label_of[id_] - 1 for id_ in ids], [folder / "jpg" / f"image_{id_:05d}.jpg" for id_ in ids]))
    names: Sequence[str] = FLOWERS
    companion = folder / "cat_to_name.json"
    if companion.is_file():
        by_number = mapping(read_json(companion), companion.name)
        names = texts([by_number[str(number)] for number in range(1, len(by_number) + 1)], companion.name)
    return Source(sides[0], sides[1], names)


def food101(root: Path, download: bool) -> Source:
    """Official split; a class's label is the rank of its name."""
    if download:
        datasets.Food101(root, download=True)
    folder = root / "food-101"
    sides = []
    for split in ("train", "test"):
        listed = mapping(read_json(folder / "meta" / f"{split}.json"), f"{split}.json")
        classes = sorted(listed)
        entries = [
            (folder.joinpath("images", f"{place}.jpg"), classes.index(name))
            for name, places in listed.items()
            for place in texts(places, f"{split}.json: {name!r}")
        ]
        sides.append((Side([label for _, label in entries], [path for path, _ in entries]), classes))
    (train, names), (test, _) = sides
    return Source(train, test, [name.replace("_", " ") for name in names])


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
    """Oxford-IIIT Pet: ``trainval`` for training, ``test`` for testing."""
    train, test = (datasets.OxfordIIITPet(root, split=split, download=download) for split in ("trainval", "test"))
    sides = [Side(list(side._labels), [Path(path) for path in side._images]) for side in (train, test)]
    return Source(sides[0], sides[1], train.classes)


def cars(root: Path, download: bool) -> Source:
    """Official split; the owners no longer serve the files, so they are never downloaded."""
    folder = root / "stanford_cars"
    lists = {"cars_train": "devkit/cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
    sides = []
    for images, place in lists.items():
        listed = mapping(read_matlab(folder / place, "annotations"), f"{place}: 'annotations'")
        labels = whole_numbers(listed["class"], f"{place}: 'class'")
        files = texts(listed["fname"], f"{place}: 'fname'")
        sides.append(Side([label - 1 for label in labels], [folder / images / name for name in files]))
    names = read_matlab(folder / "devkit" / "cars_meta.mat", "class_names")
    return Source(sides[0], sides[1], texts(names, "cars_meta.mat: 'class_names'"))


def sun397(root: Path, download: bool) -> Source:
    """All images in sorted order, 80 % of them for training.

    torchvision lists them in the order of the file system, so the same seed would split differently on two machines.
    Names keep the slash of nested classes and lose their underscores, as in the ZSCL release.
    """
    if download:
        datasets.SUN397(root, download=True)
    folder = root / "SUN397"
    listed = folder / "ClassName.txt"
    classes = [line[3:].strip() for line in listed.read_text("utf-8").splitlines()]
    label_of = {name: label for label, name in enumerate(classes)}
    found = pictures_below(folder)
    files = sorted(found.files, key=Path.as_posix)
    labels = [label_of["/".join(path.relative_to(folder).parts[1:-1])] for path in files]
    train, test = _seeded_split(Side(labels, files, left_out=[path for path in found.left_out if path != listed]))
    return Source(train, test, [name.replace("_", " ") for name in classes])


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


def _seeded_split(side: Side) -> tuple[Side, Side]:
    """``floor(0.8 n)`` for training, through ``random_split`` with a generator seeded 42, as in the ZSCL release."""
    count = int(TRAIN_SHARE * len(side))
    parts: list[Any] = torch.utils.data.random_split(
        range(len(side)),  # type: ignore[arg-type]
        [count, len(side) - count],
        generator=torch.Generator().manual_seed(SPLIT_SEED),
    )
    train, test = (side.part(part.indices) for part in parts)
    return replace(train, left_out=side.left_out), test
