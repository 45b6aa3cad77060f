"""What the optional ``edition.json`` at a data root says: the only thing that tells an embedded folder from another."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mmcl.config import merged
from mmcl.errors import DataError, nearest
from mmcl_benchmarks.glyphs.split import TEST, Split

_KEYS: Mapping[str, type] = {"edition": str, "synthetic": bool, "templates": dict, "names": dict, "training": dict}


@dataclass(frozen=True)
class Edition:
    """The edition of a data root; without the file, the official one.

    Attributes:
        name: printed in every output.
        synthetic: whether the images were made, not taken.
        templates: data set -> templates that replace those of the protocol; the first is used in training.
        names: data set -> class names that replace those of the protocol.
        training: fields of ``TrainingConfig`` that replace the protocol's.
    """

    name: str = "official"
    synthetic: bool = False
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def official(self) -> bool:
        """Whether the folder claims to hold what the owners give away."""
        return self.name == Edition.name

    def settings(self, protocol: Mapping[str, Any]) -> Mapping[str, Any]:
        """The protocol's training settings under those of the edition, whose steps count before its epochs."""
        counted = "epochs" if "iterations" in self.training else None
        return merged(protocol, {key: value for key, value in self.training.items() if key != counted})

    def names_of(self, data_set: str, protocol: Sequence[str]) -> Sequence[str]:
        """The class names of a data set: the edition's, or else those of the protocol.

        Raises:
            DataError: if the edition names another number of classes.
        """
        names = self.names.get(data_set, protocol)
        if len(names) != len(protocol):
            raise DataError(
                f"edition {self.name!r}",
                found=f"{len(names)} names for {data_set}",
                allowed=f"one for each of its {len(protocol)} classes",
                remedy="Correct edition.json at the data root.",
            )
        return names


def read_edition(root: Path, known: Collection[str]) -> Edition:
    """Read ``root/edition.json`` if it exists; ``known`` are the data sets it may speak of.

    Raises:
        DataError: if it is not valid JSON, has an unknown key or a value of the wrong type, names an unknown data
            set, or a template does not have exactly one ``{}``.
    """
    path = root / "edition.json"
    if not path.is_file():
        return Edition()
    try:
        said = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # of the encoding, the syntax or the depth
        _refuse(path, f"it is not valid JSON ({error})", "a JSON object in UTF-8", "Correct or remove the file.")
    if not isinstance(said, dict):
        _refuse(path, f"a {type(said).__name__}", "a JSON object", "Put the keys between braces.")
    for key, value in said.items():
        if key not in _KEYS:
            _refuse(path, f"unknown key {key!r}", ", ".join(_KEYS), nearest(key, _KEYS))
        if not isinstance(value, _KEYS[key]):
            _refuse(path, f"{key} = {value!r}", f"a value of type {_KEYS[key].__name__}", "Correct the value.")
    for key in ("templates", "names"):
        for name in said.get(key, {}):
            if name not in known:
                _refuse(path, f"{key} of {name!r}", ", ".join(known), nearest(name, known))
    return Edition(
        name=said.get("edition", Edition.name),
        synthetic=said.get("synthetic", Edition.synthetic),
        templates={name: _templates(path, name, frames) for name, frames in said.get("templates", {}).items()},
        names={name: _names(path, name, names) for name, names in said.get("names", {}).items()},
        training=said.get("training", {}),
    )


def write_edition(
    folder: Path,
    *,
    templates: Mapping[str, Sequence[str]],
    training: Mapping[str, Any],
    names: Mapping[str, Sequence[str]] | None = None,
    split: Split = TEST,
) -> None:
    """Mark a folder as an embedded edition, made and not taken."""
    said: dict[str, Any] = {"edition": split.edition, "synthetic": True, "templates": dict(templates)}
    said |= {"names": dict(names)} if names else {}
    said["training"] = dict(training)
    (folder / "edition.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _templates(path: Path, name: str, frames: object) -> tuple[str, ...]:
    if not isinstance(frames, list) or not frames or not all(map(_is_template, frames)):
        _refuse(
            path,
            f"templates of {name} = {frames!r}",
            "a list of at least one text, each with exactly one {}",
            'Write for example ["a photo of a {}."].',
        )
    return tuple(frames)


def _names(path: Path, name: str, names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(text, str) and text for text in names):
        _refuse(path, f"names of {name} = {names!r}", "a list of class names", "Name every class, in label order.")
    return tuple(names)


def _is_template(frame: object) -> bool:
    """Whether ``frame.format(name)`` puts the name in once and cannot fail."""
    if not isinstance(frame, str) or frame.count("{}") != 1:
        return False
    return not set("{}") & set(frame.replace("{}", ""))


def _refuse(path: Path, found: str, allowed: str, remedy: str) -> NoReturn:
    raise DataError(f"edition file {path}", found=found, allowed=allowed, remedy=remedy)
