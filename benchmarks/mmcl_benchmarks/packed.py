"""Packed formats that owners chose: pickles (CIFAR, CORe50) and IDX files (MNIST).

A pickle is a program. Where a format is a pickle, it is read by an interpreter that knows nothing but arrays of
numbers, lists and texts, not by a loader that would run whatever the file says.
"""

import gzip
import io
import math
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl.data.modality import IMAGE
from mmcl.data.pixels import as_picture
from mmcl.data.sample import Sample

# what the standard library says unpickling may raise, and what a damaged stream makes of an array's constructor
_BROKEN_PICKLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)


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


class _PlainUnpickler(pickle.Unpickler):
    """Reads arrays, lists, dictionaries and texts and nothing that could run code."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Only what an array of numbers needs."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of numbers and texts")
        return super().find_class(module, name)


def read_pickle(path: Path) -> Any:
    """What a file of arrays, lists, dictionaries and texts holds.

    Raises:
        OSError: if the file is missing.
        ValueError: if it holds anything else; the sentence names the file.
    """
    raw = path.read_bytes()
    try:
        return _PlainUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except _BROKEN_PICKLE as error:
        raise ValueError(f"{path.name}: {error or type(error).__name__}") from error


def read_pickled_dictionary(path: Path) -> dict[str, Any]:
    """The dictionary in one of CIFAR's files, its keys as text.

    Raises:
        OSError: if the file is missing.
        ValueError: if it holds anything but a dictionary of arrays, lists and texts; the sentence names the file.
    """
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: it holds a {type(content).__name__} instead of a dictionary")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file as ``uint8`` with the given number of dimensions; ``path`` or ``path.gz`` is read.

    Raises:
        OSError: if neither file exists.
        ValueError: if the header or the length is wrong; the sentence names the file.
    """
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file() or not packed.is_file():
        raw = path.read_bytes()
    else:
        try:
            raw = gzip.decompress(packed.read_bytes())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{packed.name}: {error}") from error
    head = 4 + 4 * dimensions
    # two zero bytes, 8 for unsigned bytes, then the number of dimensions
    if len(raw) < head or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{path.name}: it does not begin as an IDX file of {dimensions} dimensions does")
    shape = tuple(int.from_bytes(raw[start : start + 4], "big") for start in range(4, head, 4))
    if len(raw) - head != math.prod(shape):
        raise ValueError(f"{path.name}: {len(raw) - head} bytes of values instead of {math.prod(shape)}")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)
