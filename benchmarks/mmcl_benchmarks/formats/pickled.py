"""Pickles that owners chose (CIFAR, CORe50), read by an interpreter that builds numbers, texts and plain arrays alone.

A pickle is a program. This interpreter lacks the instructions that make objects of any kind, and the few names that an
array is written with stand for functions of this file: what a file says is compared with the bytes that are there, and
only then ``np.frombuffer`` makes an array of them. It is the standard library's interpreter in Python: the one in C
takes memory for what a file claims before it looks whether the file has it.
"""

import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# what the standard library's interpreter raises over a damaged file
_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)
_PLAIN = re.compile(r"[<>|=]?([iu][1248]|f[248])")  # types of which any bytes are values
_KEYS = (str, bytes, int)
# by their codes: version, frames, end, marks and what takes values off; nothing, numbers; texts and bytes; lists,
# dictionaries and tuples; the memo; a name and a call of it
_KNOWN = (
    b"\x80\x95.(01"
    + b"NIJKMLFG\x88\x89\x8a\x8b"
    + b"STUVXBC\x8c\x8d\x8e"
    + b"]lae})tsu\x85\x86\x87"
    + b"pqrghj\x94"
    + b"c\x93R"
)


def read_pickle(path: Path) -> Any:
    """What a file of arrays, lists, dictionaries and texts holds.

    Raises:
        OSError: if the file is missing.
        ValueError: if it holds anything else; the sentence names the file.
    """
    raw = path.read_bytes()
    try:
        return _PlainUnpickler(raw).load()
    except KeyError as error:  # an instruction that is not known here
        raise ValueError(f"{path.name}: it does more than hold numbers and texts (instruction {error})") from error
    except _BROKEN as error:
        raise ValueError(f"{path.name}: {str(error) or 'it ends before it is complete'}") from error


def read_pickled_dictionary(path: Path) -> dict[str, Any]:
    """The dictionary in one of CIFAR's files, its keys as text.

    Raises:
        OSError: if the file is missing.
        ValueError: if it holds anything but a dictionary of arrays, lists and texts; the sentence names the file.
    """
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: it holds a {type(content).__name__} instead of a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}


_Interpreter: Any = pickle._Unpickler  # whose parts typeshed does not tell


class _Draft:
    """A type of numbers or an array of which a file has not said everything yet; ``places`` are those in the memo."""

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype
        self.places: list[int] = []

    def completed(self, state: object) -> Any:
        """The type in its byte order, or the array."""
        match state:
            case (3, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0) if self.dtype is not None:
                return self.dtype.newbyteorder(order)
            case (1, shape, np.dtype() as dtype, bool() as columns_first, content) if self.dtype is None:
                return _array(shape, dtype, content, "F" if columns_first else "C")
        raise pickle.UnpicklingError("an array in a state that arrays of plain numbers do not have")


class _Memo(dict[int, Any]):
    """What a file refers to again; drafts know where they are, to be replaced there by what becomes of them."""

    def __setitem__(self, place: int, value: Any) -> None:
        if isinstance(value, _Draft):
            value.places.append(place)
        super().__setitem__(place, value)


class _Table(dict[Any, Any]):
    """A dictionary by names or numbers: the hash of a deeply nested key would end the process."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, _KEYS):
            raise pickle.UnpicklingError(f"a dictionary with a {type(key).__name__} for a key")
        super().__setitem__(key, value)


class _PlainUnpickler(_Interpreter):  # type: ignore[misc]
    """The interpreter of the pickle machine, without what would call anything."""

    dispatch: dict[int, Callable[[Any], None]] = {
        code: act for code, act in _Interpreter.dispatch.items() if code in _KNOWN
    }

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw), encoding="latin1")
        self.memo = _Memo()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-ins for what an array of numbers is written with."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of numbers and texts")
        return _STAND_INS[module, name]

    def load_build(self) -> None:
        """A state completes a draft; nothing else has one."""
        state, draft = self.stack.pop(), self.stack[-1]
        if not isinstance(draft, _Draft):
            raise pickle.UnpicklingError(f"a {type(draft).__name__} with a state")
        self.stack[-1] = draft.completed(state)
        for place in draft.places:
            self.memo[place] = self.stack[-1]

    def load_empty_dictionary(self) -> None:
        """An empty dictionary in the binary form."""
        self.append(_Table())

    def load_dict(self) -> None:
        """The form of the oldest version."""
        table, items = _Table(), self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            table[key] = value
        self.append(table)

    dispatch |= {pickle.BUILD[0]: load_build, pickle.EMPTY_DICT[0]: load_empty_dictionary, pickle.DICT[0]: load_dict}


def _array_class(*_: object) -> None:
    """Only handed on: called, it would make an array of whatever the file says."""
    raise pickle.UnpicklingError("it calls numpy.ndarray")


def _reconstruct(kind: object, *_: object) -> _Draft:
    if kind is not _array_class:
        raise pickle.UnpicklingError("an array of another class")
    return _Draft()


def _dtype(said: object, *_: object) -> _Draft:
    if not isinstance(said, str) or not _PLAIN.fullmatch(said):
        raise pickle.UnpicklingError(f"an array of {_shown(said)} instead of plain numbers")
    return _Draft(np.dtype(said))


def _scalar(dtype: object, content: object) -> Any:
    if not isinstance(dtype, np.dtype):
        raise pickle.UnpicklingError("a number without a type")
    return _array((), dtype, content, "C").item()


def _encode(text: str, encoding: str) -> bytes:
    """Bytes as the second version writes them from Python 3."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as {_shown(encoding)}")
    return text.encode("latin1")


def _shown(value: object) -> str:
    """A text, and of anything else the type: lists that hold each other have a text that fills the memory."""
    return f"{value:.40}" if isinstance(value, str) else f"a {type(value).__name__}"


def _array(shape: object, dtype: np.dtype[Any], content: object, order: Any) -> NDArray[Any]:
    """An array of the bytes that are there, if they are as many as it claims."""
    content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote bytes
    if not isinstance(content, bytes) or not isinstance(shape, tuple) or len(shape) > 8:
        raise pickle.UnpicklingError("an array without bytes and a shape")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("an array with a shape that is none")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != len(content):
        raise pickle.UnpicklingError(f"an array that claims {claimed} bytes and has {len(content)}")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


_STAND_INS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    ("numpy", "ndarray"): _array_class,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",  # how Python 3 writes no bytes for Python 2
}
