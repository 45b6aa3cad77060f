"""Products of P9D: what the JSON lists say of them, their titles in clean form, and their samples."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import open_image
from mmcl.data.sample import Sample

WORDS = 30  # of a title that are kept

_MARKS = re.compile(r"[.!\"()*#:;~]")


class Product(NamedTuple):
    """One entry of a list."""

    id: str
    title: str
    category: str  # fine category, such as a kind of kettle


@dataclass(frozen=True)
class Entry:
    """A product whose picture is there."""

    sample_id: str
    picture: Path
    title: str


class Products:
    """Pictures and clean titles as samples; the target is the position."""

    def __init__(self, entries: Sequence[Entry], task_id: int) -> None:
        self.entries, self.task_id = list(entries), task_id

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        outline = self.outline(index)
        return replace(outline, inputs={**outline.inputs, IMAGE: open_image(self.path(index))})

    def outline(self, index: int) -> Sample:
        """The sample with the path of its picture in place of the picture."""
        entry = self.entries[index]
        values = {IMAGE: entry.picture, TEXT: clean_title(entry.title)}
        return Sample(values, index, entry.sample_id, self.task_id)

    def path(self, index: int) -> Path:
        """The picture of a sample."""
        return self.entries[index].picture


def clean_title(title: str) -> str:
    """Lower case, blanks for the marks ``.!"()*#:;~``, single blanks, at most ``WORDS`` words (CTP's release)."""
    return " ".join(_MARKS.sub(" ", title.lower()).split()[:WORDS])


def read_nested(path: Path) -> dict[str, list[Product]]:
    """``train.json``: industry -> its products, in the order of the file.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such list; the sentence names the file.
    """
    return {industry: _products(items, path) for industry, items in _object(path).items()}


def read_flat(path: Path) -> dict[str, list[Product]]:
    """``test.json``, ``query.json`` and ``gallery.json``, whose products name their industry.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such list; the sentence names the file.
    """
    listed = _object(path)
    industries = [_text(record, "industry_name", path, id_) for id_, record in listed.items()]
    grouped: dict[str, list[Product]] = {industry: [] for industry in industries}
    for industry, product in zip(industries, _products(listed, path), strict=True):
        grouped[industry].append(product)
    return grouped


def _object(path: Path) -> Mapping[str, Any]:
    listed = json.loads(path.read_text("utf-8"))
    if not isinstance(listed, dict):
        raise ValueError(f"{path.name} holds a {type(listed).__name__}, not an object")
    return listed


def _products(listed: Any, path: Path) -> list[Product]:
    if not isinstance(listed, dict):
        raise ValueError(f"{path.name} holds a {type(listed).__name__} where products by id are expected")
    return [Product(id_, _text(r, "title", path, id_), _text(r, "cate_name", path, id_)) for id_, r in listed.items()]


def _text(record: Any, key: str, path: Path, id_: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{path.name}, item {id_}: {key!r} is {value!r}")
    return value
