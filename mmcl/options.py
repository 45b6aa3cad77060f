"""Options of dataclasses: names, types and bounds are checked against the fields, so that a class is its own schema.

    strength: NonNegative = 1000.0
    hidden: tuple[Width, ...] = (256, 256)
    samples: Count | None = 500

``instantiate`` checks what is typed; ``check_options`` in a ``__post_init__`` checks what is written in Python, too.
"""

import os
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from numbers import Number
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mmcl.errors import ConfigError, nearest

PLACES = frozenset({"data_root", "reference"})  # options that name folders, by convention
_LARGEST = 1e12  # what a number may be if its field says nothing else; beyond it single precision only loses
_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True)
class Bounds:
    """What a number may be: from ``least`` to ``most``; without them, if ``open_least`` or ``open_most``."""

    least: float
    most: float
    open_least: bool = False
    open_most: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.least < value if self.open_least else self.least <= value
        return above and (value < self.most if self.open_most else value <= self.most)

    def __str__(self) -> str:
        below = "up to, but not including," if self.open_most else "up to"
        if self.open_least or self.most > 1:
            return f"{f'above {self.least:g}' if self.open_least else f'{self.least:g} or more'}, {below} {self.most:g}"
        return f"{self.least:g} {below if self.open_most else 'to'} {self.most:g}"


Real = Annotated[float, Bounds(-_LARGEST, _LARGEST)]  # any sign
Positive = Annotated[float, Bounds(0, _LARGEST, open_least=True)]
NonNegative = Annotated[float, Bounds(0, _LARGEST)]
Rate = Annotated[float, Bounds(0, 1000, open_least=True)]  # of learning
Share = Annotated[float, Bounds(0, 1)]
PositiveShare = Annotated[float, Bounds(0, 1, open_least=True)]
ProperShare = Annotated[float, Bounds(0, 1, open_least=True, open_most=True)]
PartialShare = Annotated[float, Bounds(0, 1, open_most=True)]
Integer = Annotated[int, Bounds(-_LARGEST, _LARGEST)]  # any sign
Count = Annotated[int, Bounds(1, 10**9)]
Natural = Annotated[int, Bounds(0, 10**9)]
Bytes = Annotated[int, Bounds(0, _LARGEST)]
Width = Annotated[int, Bounds(1, 2**16)]  # of a layer, a batch and other things that take memory at once

# what is imported by name, which a file may not ask for unseen
_CLASS, _BACKBONE = "package.module:Class", "backbone"
ClassName = Annotated[str, _CLASS]
BackboneName = Annotated[str, _BACKBONE]  # as on the command line: openclip:ViT-B-16/openai, package.module:Class


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
    hints = hints_of(plugin)
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


def check_options(plugin: Any, who: str) -> None:
    """Check the numbers and choices among the options of an object against its fields.

    Args:
        plugin: an object of a dataclass.
        who: what users call it.

    Raises:
        ConfigError: naming the first field whose value is none of those that it declares.
    """
    hints = hints_of(type(plugin))
    for f in fields(plugin):
        if f.init and (holds_numbers(hints[f.name]) or holds_choices(hints[f.name])):
            convert(getattr(plugin, f.name), hints[f.name], f"{who}.{f.name}")


def hints_of(plugin: type) -> dict[str, Any]:
    """What the fields of a class are annotated with."""
    return get_type_hints(plugin, include_extras=True)


def names_a_class(plugin: type, option: str) -> bool:
    """Whether an option is the name of a class that is imported."""
    return _CLASS in _parts(hints_of(plugin).get(option))


def names_backbones(plugin: type, option: str) -> bool:
    """Whether an option is the name of a backbone, or several."""
    return _BACKBONE in _parts(hints_of(plugin).get(option))


def holds_numbers(hint: Any) -> bool:
    """Whether a field may hold numbers."""
    return any(part in (int, float) for part in _parts(hint))


def holds_choices(hint: Any) -> bool:
    """Whether a field may hold one of some values that it names."""
    return any(get_origin(part) is Literal for part in _parts(hint))


def bounds_of(hint: Any) -> list[Bounds]:
    """The bounds that a field declares for its numbers."""
    return [part for part in _parts(hint) if isinstance(part, Bounds)]


def convert(value: Any, hint: Any, who: str) -> Any:
    """``value`` as ``hint`` wants it: integers may stand for floats, lists for tuples, paths for texts."""
    if isinstance(value, Number) and hasattr(value, "item"):  # one of NumPy's
        value = value.item()
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        bounds = bounds_of(hint)
        return _number(value, arguments[0], bounds[0], who) if bounds else convert(value, arguments[0], who)
    if hint in (int, float):
        return _number(value, hint, Bounds(-_LARGEST, _LARGEST), who)
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
        for choice in arguments:
            same_kind = isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool)
            if same_kind and value == choice:
                return choice
        raise wrong_value(who, value, _name(hint))
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
    plain = origin or hint
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise wrong_value(who, value, _name(hint))
    return value


def _number(value: Any, kind: type, bounds: Bounds, who: str) -> Any:
    """A number within bounds; neither NaN nor infinity is within any."""
    numeric = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if not numeric:
        raise wrong_value(who, value, f"{kind.__name__}, {bounds}")
    if value not in bounds:
        raise wrong_value(who, value, str(bounds))
    return float(value) if kind is float else value


def _parts(hint: Any) -> list[Any]:
    """A hint and everything it is made of; the values of a choice are no hints."""
    if get_origin(hint) is Literal:
        return [hint]
    return [hint, *(part for inner in get_args(hint) for part in _parts(inner))]


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is Annotated:
        return " and ".join(map(str, bounds_of(hint))) or _name(get_args(hint)[0])
    if get_origin(hint) is tuple:
        each, *others = get_args(hint)
        return f"each {_name(each)}" if others == [Ellipsis] else ", ".join(map(_name, (each, *others)))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)


def wrong_value(who: str, value: Any, allowed: str) -> ConfigError:
    """The error for a value that a field cannot take."""
    return ConfigError(who, found=f"the value {shown(value)}", allowed=allowed, remedy="Choose another value.")


def shown(value: Any) -> str:
    """A value in a sentence, whatever its length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists of thousands of levels
        return f"that cannot be written down ({error})"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


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
