"""Packed formats that owners chose: images in rows of one array (CIFAR, MNIST), and IDX files (MNIST)."""

import gzip
import math
import zlib
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl.data.modality import IMAGE
from mmcl.data.pixels import as_picture
from mmcl.data.sample import Sample

MOST_BYTES = 2**28  # of values in an IDX file


class PackedSamples:
    """Rows of ``uint8[N, H, W(, 3)]`` images with a class id each, as samples named ``NAME/ROW``."""

    def __init__(
        self, images: NDArray[np.uint8], rows: Sequence[int], targets: Sequence[int], name: str, task_id: int
    ) -> None:
        self.images, self.rows, self.targets = images, rows, targets
        self.name, self.task_id = name, task_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = self.rows[index]
        name = f"{self.name}/{row}"
        image = as_picture(self.images[row], f"sample {name}")
        return Sample({IMAGE: image}, self.targets[index], name, self.task_id)

    def path(self, index: int) -> Path | None:
        """No sample has a file of its own."""
        del index
        return None


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file as ``uint8`` with the given number of dimensions; ``path`` or ``path.gz`` is read.

    Raises:
        OSError: if neither file exists.
        ValueError: if the header or the length is wrong; the sentence names the file.
    """
    packed = path.with_name(f"{path.name}.gz")
    compressed = not path.is_file() and packed.is_file()
    try:
        with gzip.open(packed) if compressed else path.open("rb") as file:
            return _read_idx(file, dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{(packed if compressed else path).name}: {error}") from error


def _read_idx(file: gzip.GzipFile | BufferedIOBase, dimensions: int) -> NDArray[np.uint8]:
    """No more is read than the header claims, and no more claimed than a data set of this kind can have."""
    head = file.read(4 + 4 * dimensions)
    # two zero bytes, 8 for unsigned bytes, then the number of dimensions
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"it does not begin as an IDX file of {dimensions} dimensions does")
    shape = tuple(int.from_bytes(head[start : start + 4], "big") for start in range(4, len(head), 4))
    claimed = math.prod(shape)
    if claimed > MOST_BYTES:
        raise ValueError(f"it claims {claimed} bytes of values; MNIST's largest file has 47,040,000")
    values = file.read(claimed + 1)
    if len(values) != claimed:
        found = f"more than {claimed}" if len(values) > claimed else f"{len(values)}"
        raise ValueError(f"{found} bytes of values instead of {claimed}")
    return np.frombuffer(values, np.uint8).reshape(shape)
