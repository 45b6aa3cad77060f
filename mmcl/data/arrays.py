"""Arrays: windows of sensors and the like, one to a file.

``.npy`` as NumPy writes it, or ``.csv`` with a line of numbers for each step and no header. What is no number, or more
than the file can hold, is refused.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl.errors import DataError

SUFFIXES = frozenset({".npy", ".csv"})

_SHOWN = 200  # characters of what a reader says, which may repeat a header


def is_array_path(value: Any) -> bool:
    """Whether a value is the path of such a file, by its name."""
    return isinstance(value, (str, Path)) and Path(value).suffix.lower() in SUFFIXES


def open_array(path: Path) -> NDArray[Any]:
    """The numbers of a file.

    Raises:
        DataError: if it is missing, damaged, holds objects, or a number that is NaN or infinite.
    """
    try:
        found = _read(path)
    except Exception as error:  # NumPy's readers raise what they meet
        said = str(error).partition("\n")[0]
        raise _refused(path, f"it cannot be read ({type(error).__name__}: {said:.{_SHOWN}})") from error
    if found.dtype.kind not in "biuf":
        raise _refused(path, f"values of type {found.dtype}")
    found = np.array(found)
    if odd := found.size - int(np.isfinite(found).sum()):
        raise _refused(path, f"{odd} of {found.size} numbers are NaN or infinite")
    return found


def _read(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        # mapped, not read: a header that claims more than the file holds takes no memory
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    lines = path.read_text("utf-8").splitlines()
    if not any(map(str.strip, lines)):
        raise ValueError("no number in it")
    return np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2)


def _refused(path: Path, found: str) -> DataError:
    return DataError(
        f"array {path}",
        found=found,
        allowed="finite numbers in a .npy file, or in lines of a .csv file without a header",
        remedy="Replace or remove the file.",
    )
