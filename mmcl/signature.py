"""Signature: what people hand to a public function is held against its annotations, and what is none is a sentence.

    by_class: experiences: ['A']. Allowed: a whole number or a list of whole numbers. Choose another value.

What means the same to a reader is taken: NumPy's numbers, arrays and columns of data frames for lists, any path for a
path. Nothing else is converted.
"""

import inspect
import operator
import os
import types
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence, Sized, ValuesView
from functools import cache, wraps
from numbers import Real
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from mmcl.errors import ConfigError, nearest

P = ParamSpec("P")
R = TypeVar("R")

_WORDS: Mapping[Any, tuple[str, str]] = {
    bool: ("True or False", "True or False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
    types.NoneType: ("None", "None"),
}
_SHOWN = Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60


class _UnfitError(Exception):
    """A value is not of the kind that was tried."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which refuses arguments of another kind than it is annotated with.

    The function raises:
        ConfigError: naming the argument, what it is, and what it may be; or the argument that is missing or unknown.
    """
    signature, who = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
    hints = cache(lambda: get_type_hints(function))

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            bound = signature.bind(*arguments, **options)
        except TypeError as error:
            raise _misused(who, signature, options, error) from None
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if name in hints() and kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                bound.arguments[name] = fitted(value, hints()[name], f"{who}: {name}")
        return function(*bound.args, **bound.kwargs)

    return call


def fitted(value: Any, hint: Any, who: str) -> Any:
    """``value`` as ``hint`` has it.

    Args:
        value: what somebody handed over.
        hint: an annotation.
        who: the function and its argument, for the sentence.

    Raises:
        ConfigError: if it is of another kind.
    """
    for kind in _alternatives(hint):
        try:
            return _as(value, kind)
        except _UnfitError:
            continue
    allowed = " or ".join(dict.fromkeys(_words(kind)[0] for kind in _alternatives(hint)))
    raise ConfigError(who, found=shown(value), allowed=allowed, remedy=_remedy(value, hint))


def shown(value: Any) -> str:
    """A value in a sentence: short ones as they are written, of others what they are."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (str, bytes, int, float, list, tuple, dict, set, frozenset, os.PathLike, types.NoneType)):
        return _SHOWN.repr(value)
    return f"an object of type {type(value).__name__}"


def _as(value: Any, kind: Any) -> Any:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return value
    if origin is Literal:
        return _require(value, value in inner)
    if origin in (int, float):
        if isinstance(value, (bool, str)) or type(value).__name__ in ("bool", "bool_"):
            raise _UnfitError
        return _number(value, origin)
    if origin is bool:
        return bool(_require(value, type(value).__name__ in ("bool", "bool_")))
    if origin is Path:
        return Path(_require(value, isinstance(value, os.PathLike)))
    if origin is Sequence:
        return [_as_one_of(item, inner[0]) for item in _listed(value)]
    if origin is Mapping:
        _require(value, isinstance(value, Mapping))
        return {_as_one_of(key, inner[0]): _as_one_of(item, inner[1]) for key, item in value.items()}
    if origin is Callable:
        return _require(value, callable(value))
    return _require(value, not isinstance(origin, type) or isinstance(value, origin))


def _as_one_of(value: Any, hint: Any) -> Any:
    for kind in _alternatives(hint):
        try:
            return _as(value, kind)
        except _UnfitError:
            continue
    raise _UnfitError


def _number(value: Any, kind: type) -> Any:
    """A number of any library."""
    try:
        return operator.index(value) if kind is int else float(_require(value, isinstance(value, Real)))
    except TypeError:
        raise _UnfitError from None


def _listed(value: Any) -> list[Any]:
    """A list, or what is read as one: a tuple, an array, a column of a data frame, the keys of a dictionary."""
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Sized):
        raise _UnfitError
    if hasattr(value, "tolist"):
        value = value.tolist()
    fits = isinstance(value, (KeysView, ValuesView)) or hasattr(value, "__getitem__")
    return list(_require(value, fits))


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise _UnfitError
    return value


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one kind."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for member in get_args(hint) for kind in _alternatives(member))
    return (types.NoneType if hint is None else hint,)


def _words(kind: Any) -> tuple[str, str]:
    """A kind in words, one and several."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in _WORDS:
        return _WORDS[origin]
    if origin is Literal:
        return " or ".join(map(repr, inner)), "of " + " or ".join(map(repr, inner))
    if origin is Sequence:
        items = " or ".join(dict.fromkeys(_words(item)[1] for item in _alternatives(inner[0])))
        return f"a list of {items}", f"lists of {items}"
    if origin is Mapping:
        return "a dictionary", "dictionaries"
    if origin is Callable:
        return "a function", "functions"
    name = getattr(origin, "__name__", "")
    return (f"an object of {name}", f"objects of {name}") if isinstance(origin, type) else ("anything", "anything")


def _remedy(value: Any, hint: Any) -> str:
    lists = any((get_origin(kind) or kind) is Sequence for kind in _alternatives(hint))
    if lists and isinstance(value, (str, os.PathLike)):
        return f"Write [{shown(value)}]."
    if lists and isinstance(value, (Iterator, set, frozenset)):
        return "Make a list of it, in the order that is meant."
    if isinstance(value, type) or (lists and isinstance(value, list) and any(isinstance(v, type) for v in value)):
        return "Hand over an object: the class is called first."
    return "Choose another value."


def _misused(who: str, signature: inspect.Signature, given: Mapping[str, Any], error: TypeError) -> ConfigError:
    known = [name for name in signature.parameters if name != "self"]
    unknown = [name for name in given if name not in known]
    return ConfigError(
        who,
        found=f"the unknown argument {unknown[0]!r}" if unknown else str(error),
        allowed=f"{who}({', '.join(known)})",
        remedy=nearest(unknown[0], known) if unknown else f"Call help({who}).",
    )
