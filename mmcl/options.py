"""Options of dataclasses: names and types are checked against the fields, so that a class is its own schema."""

import os
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from numbers import Number
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mmcl.errors import ConfigError, nearest


def instantiate(plugin: type, options: Mapping[str, Any], who: str) -> Any:
    """Build a dataclass from options, checking names and types against its fields.

    Raises:
        ConfigError: naming the field, the value, the type or the known names, and what to do.
    """
    if not is_dataclass(plugin):
        raise ConfigError(
            who,
            found=f"{plugin.__module__}:{plugin.__qualname__} has no fields that could be options",
            allowed="a dataclass",
            remedy="Decorate the class with @dataclass(kw_only=True).",
        )
    accepted = [f for f in fields(plugin) if f.init]
    known = [f.name for f in accepted]
    require_known(options, known, who)
    hints = get_type_hints(plugin)
    for f in accepted:
        if f.default is MISSING and f.default_factory is MISSING and f.name not in options:
            raise ConfigError(
                f"{who}.{f.name}",
                found="no value, and it has no default",
                allowed=_name(hints[f.name]),
                remedy=f"Set {f.name}.",
            )
    values = {name: convert(value, hints[name], f"{who}.{name}") for name, value in options.items()}
    return plugin(**values)


def convert(value: Any, hint: Any, who: str) -> Any:
    """``value`` as ``hint`` wants it: integers may stand for floats, lists for tuples, paths for texts."""
    if isinstance(value, Number) and hasattr(value, "item"):  # one of NumPy's
        value = value.item()
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if type(None) in arguments and value in (None, "none"):
            return None
        for option in arguments:
            try:
                return convert(value, option, who)
            except ConfigError:
                continue
        raise wrong_value(who, value, " or ".join(_name(option) for option in arguments))
    if origin is Literal:
        if value not in arguments:
            raise wrong_value(who, value, " or ".join(map(repr, arguments)))
        return value
    if hint is type(None):
        if value is None:
            return None
        raise wrong_value(who, value, "none")
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
            if len(kinds) == len(value):
                return tuple(convert(item, kind, who) for item, kind in zip(value, kinds, strict=True))
        raise wrong_value(who, value, f"a list: {_name(hint)}")
    if origin is list:
        if isinstance(value, (list, tuple)):
            return [convert(item, arguments[0], who) for item in value]
        raise wrong_value(who, value, f"a list: {_name(hint)}")
    if origin is dict:
        if isinstance(value, Mapping):
            key, kind = arguments
            return {convert(name, key, who): convert(item, kind, f"{who}.{name}") for name, item in value.items()}
        raise wrong_value(who, value, f"a table: {_name(hint)}")
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise wrong_value(who, value, _name(hint))
    return value


def _name(hint: Any) -> str:
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)


def wrong_value(who: str, value: Any, allowed: str) -> ConfigError:
    """The error for a value that a field cannot take."""
    return ConfigError(who, found=f"the value {value!r}", allowed=allowed, remedy="Choose another value.")


def require_known(given: Mapping[str, Any], known: Collection[str], who: str) -> None:
    """Refuse a key that is none of the known ones."""
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{who}",
                found=f"the unknown key {key!r}",
                allowed=", ".join(sorted(known)) or "no options",
                remedy=nearest(key, known),
            )
