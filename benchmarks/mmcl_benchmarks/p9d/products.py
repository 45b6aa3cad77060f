"""Products of P9D: what the JSON lists say of them, their titles in clean form, and their samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.pixels import open_image
from mmcl.data.sample import Sample
from mmcl_benchmarks.formats.content import mapping, read_json

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


@dataclass
class Listed:
    """What a list says of one industry.

    Attributes:
        products: those with title and category.
        incomplete: of each of the others, what it lacks.
    """

    products: list[Product] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.products) + len(self.incomplete)

    def add(self, id_: str, record: Any) -> None:
        """Take a record in, whatever it is."""
        title, category = (_text(record, key) for key in ("title", "cate_name"))
        if title and category:
            self.products.append(Product(id_, title, category))
        else:
            self.incomplete.append(f"{id_} has no {'cate_name' if title else 'title'}")


def read_nested(path: Path) -> dict[str, Listed]:
    """``train.json``: industry -> its products, in the order of the file.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such list; the sentence names the file.
    """
    grouped = {}
    for industry, records in mapping(read_json(path), path.name).items():
        grouped[industry] = Listed()
        for id_, record in mapping(records, path.name).items():
            grouped[industry].add(id_, record)
    return grouped


def read_flat(path: Path) -> dict[str, Listed]:
    """``test.json``, ``query.json`` and ``gallery.json``, whose products name their industry; ``""`` if they do not.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no such list; the sentence names the file.
    """
    grouped: dict[str, Listed] = {}
    for id_, record in mapping(read_json(path), path.name).items():
        grouped.setdefault(_text(record, "industry_name"), Listed()).add(id_, record)
    return grouped


def _text(record: Any, key: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, str) and value.strip() else ""
