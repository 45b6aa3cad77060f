"""CIFAR-100's three pickles: reader, and writer for embedded editions. MTIL and the stream of classes share them.

They are read by MMCL's own unpickler, not by torchvision's class, which would run whatever the files say; torchvision
is used where files are fetched.
"""

from pathlib import Path

import numpy as np

from mmcl_benchmarks.formats.content import texts, whole_numbers
from mmcl_benchmarks.formats.labelled import Side, Source
from mmcl_benchmarks.formats.pickled import read_pickled_dictionary
from mmcl_benchmarks.glyphs.drawn import Drawn, numbered, slug, write_pickle

FOLDER = "cifar-100-python"
OWNER = "the University of Toronto"
SIZES = (50000, 10000)  # training and test images


def read_cifar100(root: Path, download: bool) -> Source:
    """The Python version's three files; class names as ``meta`` has them, with underscores.

    Raises:
        OSError, LookupError, ValueError: if a file is missing or damaged.
    """
    if download:
        from torchvision import datasets

        datasets.CIFAR100(root, download=True)
    folder = root / FOLDER
    meta = read_pickled_dictionary(folder / "meta")
    sides = []
    for name in ("train", "test"):
        content = read_pickled_dictionary(folder / name)
        data = content["data"]
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
            raise ValueError(f"{name}: 'data' is no array of bytes")
        images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        sides.append(Side(whole_numbers(content["fine_labels"], f"{name}: 'fine_labels'"), images=images))
    return Source(sides[0], sides[1], texts(meta["fine_label_names"], "meta: 'fine_label_names'"))


def write_cifar100(root: Path, drawn: Drawn) -> None:
    """Three pickles of plain arrays and lists, images 32 x 32, planes one after the other."""
    base = root / FOLDER
    base.mkdir()
    write_pickle({"fine_label_names": [slug(name) for name in drawn.names]}, base / "meta")
    for split, side in (("train", drawn.train), ("test", drawn.test)):
        pairs = list(numbered(side))
        images = np.stack([np.asarray(image.resize((32, 32)).convert("RGB")) for _, image in pairs])
        rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))
        write_pickle({"data": rows, "fine_labels": [label for label, _ in pairs]}, base / split)
