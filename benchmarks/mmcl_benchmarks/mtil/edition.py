"""What the optional ``edition.json`` at a data root says: the only thing that tells an embedded folder from another."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mmcl.errors import DataError, nearest
from mmcl_benchmarks.mtil.prompts import TEMPLATES

_KEYS: Mapping[str, type] = {"edition": str, "synthetic": bool, "templates": dict, "training": dict}


@dataclass(frozen=True)
class Edition:
    """The edition of a data root; without the file, the official one.

    Attributes:
        name: printed in every output.
        synthetic: whether the images were made, not taken.
        templates: data set -> templates that replace those of the protocol; the first is used in training.
        training: fields of ``TrainingConfig`` that replace the protocol's.
    """

    name: str = "official"
    synthetic: bool = False
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def read_edition(root: Path) -> Edition:
    """Read ``root/edition.json`` if it exists.

    Raises:
        DataError: if it is not valid JSON, has an unknown key or a value of the wrong type, names an unknown data
            set, or a template does not have exactly one ``{}``.
    """
    path = root / "edition.json"
    if not path.is_file():
        return Edition()
    try:
        said = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # of the encoding or of the syntax
        _refuse(path, f"it is not valid JSON ({error})", "a JSON object in UTF-8", "Correct or remove the file.")
    if not isinstance(said, dict):
        _refuse(path, f"a {type(said).__name__}", "a JSON object", "Put the keys between braces.")
    for key, value in said.items():
        if key not in _KEYS:
            _refuse(path, f"unknown key {key!r}", ", ".join(_KEYS), nearest(key, _KEYS))
        if not isinstance(value, _KEYS[key]):
            _refuse(path, f"{key} = {value!r}", f"a value of type {_KEYS[key].__name__}", "Correct the value.")
    return Edition(
        name=said.get("edition", Edition.name),
        synthetic=said.get("synthetic", Edition.synthetic),
        templates={name: _templates(path, name, frames) for name, frames in said.get("templates", {}).items()},
        training=said.get("training", {}),
    )


def _templates(path: Path, name: str, frames: object) -> tuple[str, ...]:
    if name not in TEMPLATES:
        _refuse(path, f"templates of {name!r}", "names of MTIL's data sets", nearest(name, TEMPLATES))
    if not isinstance(frames, list) or not frames or not all(map(_is_template, frames)):
        _refuse(
            path,
            f"templates of {name} = {frames!r}",
            "a list of at least one text, each with exactly one {}",
            'Write for example ["a photo of a {}."].',
        )
    return tuple(frames)


def _is_template(frame: object) -> bool:
    """Whether ``frame.format(name)`` puts the name in once and cannot fail."""
    if not isinstance(frame, str) or frame.count("{}") != 1:
        return False
    return not set("{}") & set(frame.replace("{}", ""))


def _refuse(path: Path, found: str, allowed: str, remedy: str) -> NoReturn:
    raise DataError(f"edition file {path}", found=found, allowed=allowed, remedy=remedy)
