"""Structured files of others (JSON, MATLAB), and what is expected of a value in them.

Whatever such a file can hold instead is told as a ``ValueError`` that names the file, before any program meets it.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

# what scipy raises over bytes that are no MATLAB file of version 5, or an incomplete one
_BROKEN_MATLAB = (
    MatReadError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    NotImplementedError,
    zlib.error,
)


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such file; the sentence names it.
    """
    raw = path.read_bytes()
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_matlab(path: Path, key: str) -> NDArray[Any]:
    """One variable of a MATLAB file, without dimensions of size 1.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such file or has no such variable; the sentence names both.
    """
    with path.open("rb") as file:
        try:
            held = loadmat(file, squeeze_me=True)
        except _BROKEN_MATLAB as error:
            raise ValueError(f"{path.name}: {error or type(error).__name__}") from error
    if not isinstance(held.get(key), np.ndarray):
        raise ValueError(f"{path.name} holds no list {key!r}")
    variable: NDArray[Any] = np.atleast_1d(held[key])
    return variable


def whole_numbers(value: Any, what: str) -> list[int]:
    """A list of whole numbers, whatever type a file keeps them in.

    Raises:
        ValueError: if it is anything else.
    """
    numbers = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else np.asarray(None)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.equal(numbers, np.floor(numbers)).all():
        raise ValueError(f"{what} is no list of whole numbers")
    return [int(number) for number in numbers]


def texts(value: Any, what: str) -> list[str]:
    """A list of texts, none of them empty.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValueError(f"{what} is no list of texts")
    return [str(text) for text in value]


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """An object of JSON, or a dictionary of a pickle, by names.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{what} holds a {type(value).__name__} where names with values are expected")
    return value
