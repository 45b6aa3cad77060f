"""JSON files of others, and what is expected of a value in a structured file of any kind.

Whatever such a file can hold instead is told as a ``ValueError`` that names the file, before any program meets it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


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


def whole_numbers(value: Any, what: str) -> list[int]:
    """A list of whole numbers, whatever type a file keeps them in.

    Raises:
        ValueError: if it is anything else.
    """
    plain = isinstance(value, np.ndarray) or (isinstance(value, (list, tuple)) and all(map(_is_number, value)))
    numbers = np.asarray(value if plain else None)  # of other values NumPy would make an array, however large
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all() or (numbers % 1).any():
        raise ValueError(f"{what} is no list of whole numbers")
    return [int(number) for number in numbers]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number))


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
