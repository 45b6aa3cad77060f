"""A template has one place for a name, however people write it."""

import json
import pickle
from copy import deepcopy
from typing import Any

import pytest

from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.templates import templates_of
from mmcl.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, ("a photo of a {}.",)),
        ("a bad photo of a {}.", ("a bad photo of a {}.",)),
        (["a photo of a {c}.", "itap of {0}", "{name}"], ("a photo of a {}.", "itap of {}", "{}")),
        ([lambda c: f"a photo of a {c}.", "{}"], ("a photo of a {}.", "{}")),
        ("a photo of a {}.".format, ("a photo of a {}.",)),
        (("{{set}} of {}",), ("{{set}} of {}",)),
        ([lambda c: "{" + c + "}"], ("{{{}}}",)),
    ],
)
def test_what_is_clear_is_taken(written: Any, meant: tuple[str, ...]) -> None:
    assert templates_of(written) == meant
    space = LabelSpace.of(["owl"], templates=written)
    assert space.classes[0].templates == meant
    assert LabelSpace.from_list(json.loads(json.dumps(space.to_list()))) == space


@pytest.mark.parametrize(
    "written",
    [
        [],
        (),
        ["a photo"],
        [""],
        ["a {} of {}"],
        ["{c} and {c}"],
        ["a {"],
        ["a }"],
        ["{.__class__}"],
        ["{0[1]}"],
        ["{!r}"],
        ["{:>8}"],
        [None],
        [3],
        [["a {}"]],
        b"a {}",
        {"a {}"},
        {"a {}": 1},
        7,
        [lambda c: "a photo"],
        [lambda c: f"{c} {c}"],
        [lambda c: f"a {c.title()}"],
        [lambda c: f"{'an' if c[0] in 'aeiou' else 'a'} {c}"],
        [lambda: "a"],
        [lambda c: 3],
    ],
)
def test_what_is_not_is_refused_in_one_sentence(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"templates.*For example: templates=\['a photo of a \{\}\.'\]"):
        LabelSpace.of(["owl"], templates=written)
    with pytest.raises(ConfigError):
        ClassLabel(0, "owl", written)


def test_names_with_braces_survive() -> None:
    names = ["{}", "a {b} c", "{0.__class__}", "}{"]
    space = LabelSpace.of(names, templates=["the sign {c}", "{}"])
    assert [label.prompts for label in space] == [(f"the sign {name}", name) for name in names]
    assert [label.prompts for label in space.for_training] == [(f"the sign {name}",) for name in names]


def test_classes_of_stored_runs_are_what_they_were() -> None:
    stored = [{"id": 3, "name": "owl", "templates": ["a photo", "{0}", "{!s}"]}]
    space = LabelSpace.from_list(stored)
    assert space.classes[0].prompts == ("a photo", "owl", "owl")
    assert space.to_list() == stored
    assert space.for_training.classes[0].prompts == ("a photo",)
    assert pickle.loads(pickle.dumps(space.classes)) == space.classes == deepcopy(space.classes)
