"""Writers of the official layouts of Tiny ImageNet and ImageNet; for embedded data and tests."""

from collections.abc import Sequence
from pathlib import Path

from mmcl_benchmarks.glyphs.drawn import Drawn, numbered, write_jpeg


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
    mapping = "".join(f"{wnid} {name}\n" for wnid, name in sorted(zip(wnids, drawn.names, strict=True)))
    (root / "LOC_synset_mapping.txt").write_text(mapping, encoding="utf-8")
    return lists


def write_imagenet100(root: Path, drawn: Drawn, wnids: Sequence[str]) -> None:
    """ImageNet's folders with the two lists."""
    for side, lines in write_imagenet(root, drawn, wnids).items():
        (root / f"{side}_100.txt").write_text("".join(lines), encoding="utf-8")
