"""Writers of the official layouts of MTIL's data sets, byte for byte in structure; for embedded data and tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcl_benchmarks.glyphs.drawn import Drawn, numbered, slug, write_jpeg

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


def write_aircraft(root: Path, drawn: Drawn) -> None:
    """``images/``, ``variants.txt`` and one list of images per split."""
    base = root / "fgvc-aircraft-2013b" / "data"
    (base / "images").mkdir(parents=True)
    (base / "variants.txt").write_text("".join(f"{name}\n" for name in drawn.names), encoding="utf-8")
    number = 0
    for split, side in (("train", drawn.train), ("val", []), ("test", drawn.test)):
        lines = []
        for label, image in numbered(side):
            number += 1
            write_jpeg(image, base / "images" / f"{number:07d}.jpg")
            lines.append(f"{number:07d} {drawn.names[label]}\n")
        (base / f"images_variant_{split}.txt").write_text("".join(lines), encoding="utf-8")


def write_caltech101(root: Path, drawn: Drawn) -> None:
    """A folder per class and the background class, which readers leave out."""
    base = root / "caltech101" / "101_ObjectCategories"
    _class_folders(base, drawn, "image_{:04d}.jpg")
    background = base / "BACKGROUND_Google"
    background.mkdir()
    write_jpeg(Image.new("RGB", (32, 32), "grey"), background / "image_0001.jpg")
    (root / "caltech101" / "Annotations").mkdir()


def write_dtd(root: Path, drawn: Drawn) -> None:
    """``images/CLASS/`` and the three lists of partition 1."""
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    counts = [0] * len(drawn.names)
    for split, side in (("train", drawn.train), ("val", []), ("test", drawn.test)):
        lines = []
        for label, image in numbered(side):
            counts[label] += 1
            folder = slug(drawn.names[label])
            (base / "images" / folder).mkdir(parents=True, exist_ok=True)
            name = f"{folder}/{folder}_{counts[label]:04d}.jpg"
            write_jpeg(image, base / "images" / name)
            lines.append(f"{name}\n")
        (base / "labels" / f"{split}1.txt").write_text("".join(lines), encoding="utf-8")


def write_eurosat(root: Path, drawn: Drawn) -> None:
    """A folder per class."""
    _class_folders(root / "eurosat" / "2750", drawn, "{folder}_{}.jpg")


def write_flowers(root: Path, drawn: Drawn) -> None:
    """Numbered images, labels and splits in MATLAB files, names in the companion file ``cat_to_name.json``."""
    base = root / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    labels: list[int] = []
    sets: dict[str, list[int]] = {"trnid": [], "valid": [], "tstid": []}
    for split, side in (("trnid", drawn.train), ("tstid", drawn.test)):
        for label, image in numbered(side):
            labels.append(label + 1)
            sets[split].append(len(labels))
            write_jpeg(image, base / "jpg" / f"image_{len(labels):05d}.jpg")
    _mat({"labels": np.array([labels], dtype=np.uint8)}, base / "imagelabels.mat")
    _mat({name: np.array([ids], dtype=np.uint16) for name, ids in sets.items()}, base / "setid.mat")
    names = {str(number): name for number, name in enumerate(drawn.names, 1)}
    (base / "cat_to_name.json").write_text(json.dumps(names) + "\n", encoding="utf-8")


def write_food101(root: Path, drawn: Drawn) -> None:
    """``images/CLASS/NUMBER.jpg`` and one JSON list per split."""
    base = root / "food-101"
    (base / "meta").mkdir(parents=True)
    number = 0
    for split, side in (("train", drawn.train), ("test", drawn.test)):
        listed: dict[str, list[str]] = {slug(name): [] for name in drawn.names}
        for label, image in numbered(side):
            number += 1
            folder = slug(drawn.names[label])
            (base / "images" / folder).mkdir(parents=True, exist_ok=True)
            write_jpeg(image, base / "images" / folder / f"{number}.jpg")
            listed[folder].append(f"{folder}/{number}")
        (base / "meta" / f"{split}.json").write_text(json.dumps(listed) + "\n", encoding="utf-8")


def write_mnist(root: Path, train: Labelled, test: Labelled) -> None:
    """The four IDX files, not compressed; images ``uint8[N, 28, 28]``, labels ``[N]``."""
    base = root / "MNIST" / "raw"
    base.mkdir(parents=True)
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        head = b"".join(number.to_bytes(4, "big") for number in (0x803, *images.shape))
        (base / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.astype(np.uint8).tobytes())
        head = b"".join(number.to_bytes(4, "big") for number in (0x801, len(labels)))
        (base / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())


def write_pets(root: Path, drawn: Drawn) -> None:
    """``images/CLASS_NUMBER.jpg`` and annotation lists with class, species and breed numbers."""
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    counts = [0] * len(drawn.names)
    for split, side in (("trainval", drawn.train), ("test", drawn.test)):
        lines = []
        for label, image in numbered(side):
            counts[label] += 1
            name = f"{slug(drawn.names[label])}_{counts[label]}"
            write_jpeg(image, base / "images" / f"{name}.jpg")
            lines.append(f"{name} {label + 1} 1 1\n")
        (base / "annotations" / f"{split}.txt").write_text("".join(lines), encoding="utf-8")


def write_cars(root: Path, drawn: Drawn) -> None:
    """Image folders, the devkit with training annotations and names, and the test annotations with labels."""
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    places = {"train": base / "devkit" / "cars_train_annos.mat", "test": base / "cars_test_annos_withlabels.mat"}
    for split, side in (("train", drawn.train), ("test", drawn.test)):
        (base / f"cars_{split}").mkdir()
        rows = []
        for number, (label, image) in enumerate(numbered(side), 1):
            write_jpeg(image, base / f"cars_{split}" / f"{number:05d}.jpg")
            rows.append((1, 1, image.width, image.height, label + 1, f"{number:05d}.jpg"))
        kinds = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        _mat({"annotations": np.array(rows, dtype=kinds).reshape(1, -1)}, places[split])
    _mat({"class_names": np.array([list(drawn.names)], dtype=object)}, base / "devkit" / "cars_meta.mat")


def write_sun397(root: Path, drawn: Drawn) -> None:
    """SUN397 as ``LETTER/CLASS/sun_*.jpg`` and ``ClassName.txt``."""
    base = root / "SUN397"
    base.mkdir()
    lines = []
    for label, name in enumerate(drawn.names):
        place = f"/{name[0]}/{name}"
        lines.append(f"{place}\n")
        folder = base / place[1:]
        folder.mkdir(parents=True)
        for number, image in enumerate([*drawn.train[label], *drawn.test[label]]):
            write_jpeg(image, folder / f"sun_{label:04d}{number:04d}.jpg")
    (base / "ClassName.txt").write_text("".join(lines), encoding="utf-8")


def _class_folders(base: Path, drawn: Drawn, pattern: str) -> None:
    for label, name in enumerate(drawn.names):
        folder = base / slug(name)
        folder.mkdir(parents=True)
        for number, image in enumerate([*drawn.train[label], *drawn.test[label]], 1):
            write_jpeg(image, folder / pattern.format(number, folder=folder.name))


def _mat(content: dict[str, Any], path: Path) -> None:
    """A MATLAB 5 file without the time of writing in its header, so that two runs write the same bytes."""
    from scipy.io import savemat

    savemat(path, content)
    raw = path.read_bytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + raw[116:])
