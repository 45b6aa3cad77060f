"""Options: every number says what it may be, and nothing else is taken, from a file, a command line or Python."""

import json
import math
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl.arguments import parse_plugin, parse_value
from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError, MMCLError
from mmcl.options import (
    Bounds,
    ClassName,
    Count,
    Integer,
    Natural,
    NonNegative,
    PartialShare,
    Positive,
    PositiveShare,
    ProperShare,
    Rate,
    Real,
    Share,
    Width,
    bounds_of,
    check_options,
    convert,
    hints_of,
    holds_choices,
    holds_numbers,
    instantiate,
    names_a_class,
)
from mmcl.registry import GROUPS, entries, load

KINDS = {entry.name: (group, entry.name) for group in GROUPS for entry in entries(group)}


def kind_of(name: str) -> type:
    return TrainingConfig if name == "training" else load(*KINDS[name])


def choices(kind: type) -> Iterator[str]:
    hints = hints_of(kind)
    return (f.name for f in fields(kind) if f.init and holds_choices(hints[f.name]))


def numbers(kind: type) -> Iterator[tuple[Field[Any], Any]]:
    hints = hints_of(kind)
    return ((f, hints[f.name]) for f in fields(kind) if f.init and holds_numbers(hints[f.name]))


@pytest.mark.parametrize("name", [*KINDS, "training"])
def test_every_number_of_every_plugin_declares_its_bounds_and_refuses_what_is_none(name: str) -> None:
    kind = kind_of(name)
    for f, hint in numbers(kind):
        if "Literal" in str(hint):
            continue
        assert bounds_of(hint), f"{name}.{f.name}"
        for odd in (math.inf, -math.inf, math.nan, -1, -0.5, 1e300, 9e19, 10**400, True, "many"):
            value = (odd,) * 2 if "tuple" in str(hint) else odd
            with pytest.raises(ConfigError, match=rf"^{name}\.{f.name}: the value "):
                instantiate(kind, {f.name: value}, name)
            if not isinstance(odd, str):
                with pytest.raises(ConfigError, match=rf"{name}\.{f.name}: the value "):
                    kind(**{f.name: value})


@pytest.mark.parametrize("name", [name for name in [*KINDS, "training"] if any(choices(kind_of(name)))])
def test_a_choice_that_is_none_of_those_named_is_refused_in_python_as_in_a_file(name: str) -> None:
    kind = kind_of(name)
    for option in choices(kind):
        with pytest.raises(ConfigError, match=rf"^{name}\.{option}: the value 'nobody'\. Allowed: .* or ") as in_python:
            kind(**{option: "nobody"})
        with pytest.raises(ConfigError) as from_a_file:
            instantiate(kind, {option: "nobody"}, name)
        assert str(in_python.value) == str(from_a_file.value)


def test_choices_are_told_by_the_annotations_of_their_fields() -> None:
    found = {name: list(choices(kind_of(name))) for name in ("ewc", "hat", "replay", "p9d")}
    assert found == {
        "ewc": ["fisher", "normalise"],
        "hat": ["network", "annealing"],
        "replay": ["selection", "insert", "keep"],
        "p9d": ["order"],
    }


@pytest.mark.parametrize(
    ("hint", "least", "most", "outside", "words"),
    [
        (Positive, 1e-12, 1e12, [0, -1], "above 0, up to 1e+12"),
        (NonNegative, 0, 1e12, [-1e-9], "0 or more, up to 1e+12"),
        (Rate, 1e-12, 1000, [0, 1001], "above 0, up to 1000"),
        (Share, 0, 1, [-0.1, 1.1], "0 to 1"),
        (PartialShare, 0, 0.999, [1, -0.1], "0 up to, but not including, 1"),
        (PositiveShare, 1e-12, 1, [0, 1.1], "above 0, up to 1"),
        (ProperShare, 1e-12, 0.999, [0, 1], "above 0, up to, but not including, 1"),
        (Real, -1e12, 1e12, [-1e13], "-1e+12 or more, up to 1e+12"),
        (Integer, -5, 10**12, [10**13, 1.5], None),
        (Count, 1, 10**9, [0, 10**10], "1 or more, up to 1e+09"),
        (Natural, 0, 10**9, [-1], "0 or more, up to 1e+09"),
        (Width, 1, 65536, [0, 65537], "1 or more, up to 65536"),
        (float, -5, 5, [math.inf, 1e13], None),
    ],
)
def test_bounds_hold_what_they_say(hint: Any, least: float, most: float, outside: list[float], words: str) -> None:
    for value in (least, most):
        assert convert(value, hint, "x") == value
    for value in (*outside, math.inf, math.nan):
        with pytest.raises(ConfigError) as refusal:
            convert(value, hint, "x")
        if words and isinstance(value, float) == ("float" in str(hint)):
            assert refusal.value.allowed == words


@given(value=st.floats() | st.integers(), hint=st.sampled_from([Positive, Share, Count, Real, Positive | None]))
def test_no_number_is_taken_that_is_not_finite_and_within_bounds(value: float, hint: Any) -> None:
    try:
        taken = convert(value, hint, "x")
    except ConfigError:
        return
    assert math.isfinite(taken)
    assert taken == value
    assert taken in bounds_of(hint)[0]


@dataclass(kw_only=True)
class Options:
    hidden: tuple[Width, ...] = (1,)
    rates: tuple[Share, Share] = (0.0, 1.0)
    kind: Literal[1, 2] = 1
    way: Literal["up", "down"] | None = None
    samples: Count | None = 3
    name: ClassName | None = None
    plain: int = 0

    def __post_init__(self) -> None:
        check_options(self, "options")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hidden": (4, 0)}, "options.hidden: the value 0. Allowed: 1 or more, up to 65536"),
        ({"rates": (0.5, 2.0)}, "options.rates: the value 2.0. Allowed: 0 to 1"),
        ({"kind": 3}, "options.kind: the value 3. Allowed: 1 or 2. Choose another value."),
        ({"kind": True}, "options.kind: the value True. Allowed: 1 or 2"),
        ({"kind": 1.0}, "options.kind: the value 1.0. Allowed: 1 or 2"),
        ({"way": "sideways"}, "options.way: the value 'sideways'. Allowed: 'up' or 'down' or none"),
        ({"samples": 0}, "options.samples: the value 0. Allowed: 1 or more, up to 1e+09 or none"),
        ({"plain": 10**30}, "options.plain: the value 1000000000000000000000000000000. Allowed: -1e+12 or more"),
        ({"plain": 10**400}, "401 characters"),
        ({"plain": 10**9999}, "that cannot be written down"),
    ],
)
def test_a_refusal_names_the_field_the_value_and_what_is_allowed(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as in_python:
        Options(**options)
    with pytest.raises(ConfigError) as from_a_file:
        instantiate(Options, options, "options")
    assert sentence in str(in_python.value)
    assert sentence in str(from_a_file.value)
    assert len(str(in_python.value)) < 400


def test_an_option_that_names_a_class_is_known_as_such() -> None:
    assert names_a_class(Options, "name")
    assert not names_a_class(Options, "plain")
    assert not names_a_class(Options, "absent")
    assert names_a_class(load(*KINDS["dgr"]), "generator")


def test_bounds_may_be_a_plugins_own() -> None:
    assert convert(3, Annotated[int, Bounds(2, 4)], "x") == 3
    with pytest.raises(ConfigError, match=r"2 or more, up to 4"):
        convert(5, Annotated[int, Bounds(2, 4)], "x")


@given(st.text(alphabet='[]{}",.:0123456789eE+-infaNtrul \\', max_size=60))
def test_whatever_is_typed_is_a_value_or_a_text(text: str) -> None:
    value = parse_value(text)
    json.dumps(value)
    assert isinstance(value, (str, int, float, bool, list, type(None)))


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1, 1e999]", "9" * 400, "Infinity", "NaN", "[" * 100_000])
def test_typed_numbers_beyond_every_bound_end_in_a_sentence_about_the_option(text: str) -> None:
    with pytest.raises(MMCLError, match=r"ewc\.strength"):
        instantiate(load(*KINDS["ewc"]), parse_plugin(f"ewc:strength={text}").options, "ewc")
