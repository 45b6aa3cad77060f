"""Writers of the official layouts of the class-incremental data sets but CIFAR-100; for embedded data and tests."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from mmcl_benchmarks.glyphs.drawn import Drawn, numbered, slug, write_jpeg

Renditions = Mapping[str, Sequence[Image.Image]]  # of one class: kind, such as "tattoo" -> images


def write_tiny_imagenet(root: Path, drawn: Drawn, wnids: Sequence[str], listed: Sequence[str]) -> None:
    """``tiny-imagenet-200``: a folder and a file of boxes per class, one folder of validation images, lists.

    Args:
        root: the data root.
        drawn: the images.
        wnids: of the classes of ``drawn``.
        listed: the same in the order of ``wnids.txt``.
    """
    base = root / "tiny-imagenet-200"
    for label, (wnid, images) in enumerate(zip(wnids, drawn.train, strict=True)):
        boxes = []
        for number, image in enumerate(images):
            name = f"{wnids[label]}_{number}.JPEG"
            write_jpeg(image.resize((64, 64)), base / "train" / wnid / "images" / name)
            boxes.append(f"{name}\t0\t0\t63\t63\n")
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(boxes), encoding="utf-8")
    lines = []
    for number, (label, image) in enumerate(numbered(drawn.test)):
        write_jpeg(image.resize((64, 64)), base / "val" / "images" / f"val_{number}.JPEG")
        lines.append(f"val_{number}.JPEG\t{wnids[label]}\t0\t0\t63\t63\n")
    (base / "val" / "val_annotations.txt").write_text("".join(lines), encoding="utf-8")
    (base / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in listed), encoding="utf-8")
    words = sorted(zip(wnids, drawn.names, strict=True))
    (base / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in words), encoding="utf-8")


def write_imagenet(root: Path, drawn: Drawn, wnids: Sequence[str]) -> dict[str, list[str]]:
    """``train/WNID/*.JPEG``, ``val/WNID/*.JPEG`` and ``LOC_synset_mapping.txt``.

    Returns:
        For ``train`` and ``val`` the lines of a list: relative path and label.
    """
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for number, (label, image) in enumerate(numbered(drawn.train)):
        lists["train"].append(f"train/{wnids[label]}/{wnids[label]}_{number}.JPEG {label}\n")
        write_jpeg(image, root / lists["train"][-1].split()[0])
    for number, (label, image) in enumerate(numbered(drawn.test), 1):
        lists["val"].append(f"val/{wnids[label]}/ILSVRC2012_val_{number:08d}.JPEG {label}\n")
        write_jpeg(image, root / lists["val"][-1].split()[0])
    _write_mapping(root, drawn.names, wnids)
    return lists


def write_imagenet100(root: Path, drawn: Drawn, wnids: Sequence[str]) -> None:
    """ImageNet's folders with the two lists."""
    for side, lines in write_imagenet(root, drawn, wnids).items():
        (root / f"{side}_100.txt").write_text("".join(lines), encoding="utf-8")


def write_miniimagenet(root: Path, drawn: Drawn, wnids: Sequence[str]) -> list[list[str]]:
    """``miniimagenet`` with one folder of images and CEC's two lists; and ``LOC_synset_mapping.txt`` for its names.

    Returns:
        For every class the lines by which the published lists name its training images.
    """
    base = root / "miniimagenet"
    (base / "split").mkdir(parents=True)
    number = 0
    lines: list[list[str]] = [[] for _ in wnids]
    for side, images in (("train", drawn.train), ("test", drawn.test)):
        rows = []
        for label, image in numbered(images):
            number += 1
            name = f"{wnids[label]}{number:08d}.jpg"
            write_jpeg(image, base / "images" / name)
            rows.append(f"{name},{wnids[label]}\n")
            if side == "train":
                lines[label].append(f"MINI-ImageNet/train/{wnids[label]}/{name}")
        (base / "split" / f"{side}.csv").write_text("filename,label\n" + "".join(rows), encoding="utf-8")
    _write_mapping(root, drawn.names, wnids)
    return lines


def write_imagenet_r(root: Path, names: Sequence[str], wnids: Sequence[str], renditions: Sequence[Renditions]) -> None:
    """``imagenet-r/WNID/KIND_NUMBER.jpg``, in no split; and ``LOC_synset_mapping.txt`` for its names.

    Args:
        root: the data root.
        names: of the classes.
        wnids: of the classes.
        renditions: of every class.
    """
    for wnid, of_class in zip(wnids, renditions, strict=True):
        for kind, images in of_class.items():
            for number, image in enumerate(images):
                write_jpeg(image, root / "imagenet-r" / wnid / f"{kind}_{number}.jpg")
    _write_mapping(root, names, wnids)


def write_cub200(root: Path, drawn: Drawn) -> list[list[str]]:
    """``CUB_200_2011`` with its four lists; pictures of one class are numbered through, training and test in turn.

    Returns:
        For every class the lines by which the published lists name its training images.
    """
    base = root / "CUB_200_2011"
    base.mkdir()
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "classes": []}
    lines: list[list[str]] = []
    for label, name in enumerate(drawn.names):
        folder = f"{label + 1:03d}.{slug(name)}"
        lists["classes"].append(f"{label + 1} {folder}\n")
        lines.append([])
        sides = [*((image, 0) for image in drawn.test[label]), *((image, 1) for image in drawn.train[label])]
        for number, (image, is_training) in enumerate(sides, 1):
            id_ = len(lists["images"]) + 1
            place = f"{folder}/{slug(name)}_{number:04d}_{id_}.jpg"
            write_jpeg(image, base / "images" / place)
            lists["images"].append(f"{id_} {place}\n")
            lists["image_class_labels"].append(f"{id_} {label + 1}\n")
            lists["train_test_split"].append(f"{id_} {is_training}\n")
            if is_training:
                lines[label].append(f"CUB_200_2011/images/{place}")
    for listed, rows in lists.items():
        (base / f"{listed}.txt").write_text("".join(rows), encoding="utf-8")
    return lines


def write_session_lists(
    folder: Path, lines: Sequence[Sequence[str]], sizes: Sequence[int], generator: random.Random
) -> None:
    """``session_N.txt``: all training images of the classes of the first session, then five of each class.

    Args:
        folder: is made.
        lines: for every class those of its training images.
        sizes: number of classes of every session.
        generator: chooses the five.
    """
    folder.mkdir(parents=True)
    first = 0
    for session, size in enumerate(sizes, 1):
        classes = lines[first : first + size]
        chosen = [line for of_class in classes for line in (generator.sample(of_class, 5) if first else of_class)]
        (folder / f"session_{session}.txt").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
        first += size


def _write_mapping(root: Path, names: Sequence[str], wnids: Sequence[str]) -> None:
    """``LOC_synset_mapping.txt``, which names wnids that are none of ImageNet's."""
    mapping = "".join(f"{wnid} {name}\n" for wnid, name in sorted(zip(wnids, names, strict=True)))
    (root / "LOC_synset_mapping.txt").write_text(mapping, encoding="utf-8")
