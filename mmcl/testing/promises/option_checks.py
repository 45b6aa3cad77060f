"""What strategies, benchmarks and backbones alike promise about their options."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmcl.config import PluginConfig, RunConfig, read_toml, write_toml
from mmcl.errors import ConfigError
from mmcl.options import bounds_of, hints_of, holds_numbers, instantiate
from mmcl.registry import options_of
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise

_ODD: Mapping[float, str] = {
    math.inf: "infinity",
    -math.inf: "minus infinity",
    math.nan: "NaN",
    1e300: "1e300",
    -1: "-1",
    10**400: "a number of 400 digits",
}
_MUTABLE = (list, dict, set, bytearray)


def options(plugin: Any) -> Iterator[tuple[Field[Any], Any]]:
    """Field and value of every option."""
    return ((f, getattr(plugin, f.name)) for f in fields(plugin) if f.init)


@promise
def explained_options(plugin: Subject) -> None:
    """All options are explained in the comment behind their field."""
    if not (read := options_of(type(plugin.plugin))):
        raise NotApplicable("its source shows no options")
    silent = [option.name for option in read if not option.comment]
    if silent:
        raise BrokenPromiseError(
            f"option {silent[0]!r} has no comment",
            "Say behind the field what it is, with the paper's symbol; 'mmcl show' prints it.",
        )


@promise
def immutable_defaults(plugin: Subject) -> None:
    """Objects share nothing that could be changed."""
    for f, value in options(plugin.fresh()):
        if not _is_immutable(value):
            raise BrokenPromiseError(
                f"option {f.name!r} holds a {type(value).__name__} that could be changed",
                "Use a tuple, a frozenset, a number or a string.",
            )
    kind = type(plugin.plugin)
    common = [n for n, v in vars(kind).items() if isinstance(v, _MUTABLE) and not n.startswith("__")]
    if common:
        raise BrokenPromiseError(
            f"all objects share the {type(vars(kind)[common[0]]).__name__} {common[0]!r}",
            "Make it a field with default_factory, or a constant that cannot be changed.",
        )
    one, other = plugin.fresh(), plugin.fresh()
    both = [f.name for f in fields(kind) if not f.init and _is_same(getattr(one, f.name), getattr(other, f.name))]
    if both:
        raise BrokenPromiseError(
            f"two objects share the value of {both[0]!r}", "Use a default_factory that makes it anew."
        )


@promise
def final_dataclass(plugin: Subject) -> None:
    """It is a final dataclass with keyword-only fields."""
    kind = type(plugin.plugin)
    positional = [f.name for f in fields(kind) if f.init and not f.kw_only]
    abstract_above = [base for base in kind.__mro__[1:] if is_dataclass(base)]
    if "__dataclass_fields__" not in vars(kind):
        raise BrokenPromiseError("it is no dataclass itself", "Decorate the class with @dataclass(kw_only=True).")
    if positional:
        raise BrokenPromiseError(
            f"option {positional[0]!r} can be given by position", "Decorate the class with @dataclass(kw_only=True)."
        )
    if abstract_above or kind.__subclasses__():
        other = abstract_above[0] if abstract_above else kind.__subclasses__()[0]
        raise BrokenPromiseError(
            f"it is {'a subclass' if abstract_above else 'the base'} of {other.__qualname__}",
            "Reuse by calling a function or holding an object; concrete classes are final.",
        )


@promise
def configuration(plugin: Subject) -> None:
    """A configuration file gives all options back as they were."""
    kind = type(plugin.plugin)
    config = PluginConfig(plugin.name, {f.name: value for f, value in options(plugin.plugin)})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        write_toml(RunConfig(benchmark=PluginConfig("none"), strategies=(config,)), path)
        (stored,) = read_toml(path).strategies
    again = instantiate(kind, stored.options, plugin.name)
    for (f, value), (_, back) in zip(options(plugin.plugin), options(again), strict=True):
        if (type(value), value) != (type(back), back):
            raise BrokenPromiseError(
                f"option {f.name!r} goes in as {value!r} and comes back as {back!r}",
                "Use numbers, strings, booleans, none and tuples of them, and annotate the field with that type.",
            )


@promise
def bounded_options(plugin: Subject) -> None:
    """Numbers that are infinite, not a number, too large or negative are refused, unless a field declares them."""
    hints = hints_of(type(plugin.plugin))
    numbers = [(f, value) for f, value in options(plugin.plugin) if holds_numbers(hints[f.name])]
    if not numbers:
        raise NotApplicable("it has no option that is a number")
    for (f, value), (odd, called) in product(numbers, _ODD.items()):
        if odd == -1 and bounds_of(hints[f.name]):
            continue  # the field says whether that may be
        try:
            plugin.fresh(**{f.name: (odd,) * max(len(value), 1) if isinstance(value, tuple) else odd})
        except ConfigError:
            continue
        raise BrokenPromiseError(
            f"option {f.name!r} takes {called}",
            "Annotate it with Positive, Share, Count or another of mmcl.options, with Real or Integer if it may be "
            "negative, and call check_options(self, name) if the class has a __post_init__ of its own.",
        )


OPTION_CHECKS: tuple[Check, ...] = (
    explained_options,
    immutable_defaults,
    final_dataclass,
    configuration,
    bounded_options,
)


def _is_immutable(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_immutable, value))
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_same(one: Any, other: Any) -> bool:
    return one is other and not _is_immutable(one)
