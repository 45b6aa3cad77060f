"""Lists in MATLAB files of version 5, as Stanford Cars and Flowers have them: numbers, texts, cells and structures.

SciPy's reader trusts addresses and counts in a file and can end the process over a damaged one. Here every length is
compared with the bytes that are there before they are read, and numbers are made of them by ``np.frombuffer`` alone.

Format: "MAT-File Level 5 File Format", The MathWorks. A file is a header of 128 bytes and elements; an element is a tag
(type, length) and data. A matrix is an element whose data are elements: flags, dimensions, name, content.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}  # as characters are stored
_CELL, _STRUCTURE, _CHARACTERS, _NUMERIC = 1, 2, 4, range(6, 16)  # classes of matrices
_COMPLEX = 0x800
_DEEPEST = 8  # matrices within matrices
_MOST_BYTES = 2**28  # of one compressed variable; the largest of the owners takes some megabytes


def read_matlab(path: Path, key: str) -> list[Any] | dict[str, list[Any]]:
    """One list of a file: numbers, texts, or ``None`` for what is neither; an array of structures is field -> list.

    Raises:
        OSError: if the file is missing.
        ValueError: if it is no such file or has no such list; the sentence names both.
    """
    raw = path.read_bytes()
    try:
        for name, value in _variables(raw):
            if name == key and isinstance(value, (list, dict)):
                return value
    except (ValueError, LookupError, OverflowError, struct.error, zlib.error) as error:
        raise ValueError(f"{path.name}: {error}") from error
    raise ValueError(f"{path.name} holds no list {key!r}")


def _variables(raw: bytes) -> Iterator[tuple[str, Any]]:
    """Name and value of each variable."""
    order = {b"IM": "<", b"MI": ">"}.get(raw[126:128])
    if order is None or len(raw) < 128:
        raise ValueError("it is no MATLAB file of version 5")
    for kind, data in _elements(memoryview(raw)[128:], order):
        if kind == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(data, _MOST_BYTES)
            kind, data = next(_elements(memoryview(unpacked), order), (0, data))
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where a variable is expected")
        yield _matrix(data, order, 0)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element; they begin at multiples of 8, unless they are compressed."""
    place = 0
    while place < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, place)
        short = kind >> 16  # the length of up to four bytes, which then lie within the tag
        begin = place + (4 if short else 8)
        length, kind = (short, kind & 0xFFFF) if short else (length, kind)
        if (short and length > 4) or begin + length > len(data):
            raise ValueError(f"an element claims {length} bytes and has {len(data) - begin}")
        yield kind, data[begin : begin + length]
        end = begin + length
        place = end if kind == _COMPRESSED else place + 8 if short else end + -end % 8


def _matrix(data: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Name and value: a text, a number if there is one, a list otherwise, or a dictionary of lists."""
    if not len(data):
        return "", []  # an empty matrix has no content, not even flags
    if depth > _DEEPEST:
        raise ValueError(f"matrices within matrices, more than {_DEEPEST} deep")
    parts = _elements(data, order)
    flags = int(_part(parts, order)[0])
    sides = [int(side) for side in _part(parts, order)]
    name = bytes(next(parts, (0, memoryview(b"")))[1]).decode("latin1")
    kind = flags & 0xFF
    if min(sides, default=-1) < 0:
        raise ValueError(f"the dimensions {sides}")
    count = math.prod(sides)
    if kind == _STRUCTURE:
        return name, _fields(parts, order, count, depth)
    if kind == _CELL:
        return name, [_matrix(cell, order, depth + 1)[1] for cell in _matrices(parts, count)]
    if kind == _CHARACTERS:
        return name, _text(parts, order) if sides[0] <= 1 else None
    if kind not in _NUMERIC or flags & _COMPLEX:
        return name, None
    values = _part(parts, order)
    if len(values) != count:
        raise ValueError(f"{name!r} claims {count} values and has {len(values)}")
    return name, values[0].item() if count == 1 and depth else values.tolist()


def _part(parts: Iterator[tuple[int, memoryview]], order: str) -> Any:
    kind, data = next(parts, (0, memoryview(b"")))
    if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} where numbers are expected")
    return np.frombuffer(data, f"{order}{_NUMBERS[kind]}") if len(data) else np.zeros(0)


def _text(parts: Iterator[tuple[int, memoryview]], order: str) -> str:
    stored, characters = next(parts, (1, memoryview(b"")))
    if stored not in _TEXTS:
        raise ValueError(f"an element of type {stored} where characters are expected")
    endian = {"<": "-le", ">": "-be"}[order] if stored in (4, 17, 18) else ""
    return bytes(characters).decode(_TEXTS[stored] + endian).rstrip("\0 ")


def _matrices(parts: Iterator[tuple[int, memoryview]], count: int) -> Iterator[memoryview]:
    for _ in range(count):
        kind, data = next(parts, (0, memoryview(b"")))
        if kind != _MATRIX:
            raise ValueError(f"{count} matrices are announced, and fewer are there")
        yield data


def _fields(parts: Iterator[tuple[int, memoryview]], order: str, count: int, depth: int) -> dict[str, list[Any]]:
    """An array of structures: the values of one after the other, field by field."""
    width = int(_part(parts, order)[0])
    texts = bytes(next(parts, (0, memoryview(b"")))[1])
    if width < 1 or len(texts) % width:
        raise ValueError(f"names of fields of {width} bytes in {len(texts)}")
    names = [texts[begin : begin + width].partition(b"\0")[0].decode("latin1") for begin in range(0, len(texts), width)]
    values = [_matrix(data, order, depth + 1)[1] for data in _matrices(parts, count * len(names))]
    return {name: values[place :: len(names)] for place, name in enumerate(names)}
