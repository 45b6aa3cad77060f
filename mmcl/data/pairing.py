"""Pairing: rows of a thing and a text as pairs, where one thing may have several texts.

Rows that show the same thing, the same file or the same content, are one pair with all their texts, as where a list of
captions names every picture five times. In training one of the texts is drawn for each read (``mmcl.data.captions``);
for testing there is a sample for each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmcl.data.captions import captions_of
from mmcl.data.content import content_key
from mmcl.data.holdout import SPLIT_SEED
from mmcl.data.keys import drawing_alike, places_below
from mmcl.data.modality import TEXT, matched
from mmcl.data.sample import Sample
from mmcl.data.table import Table, TableSamples
from mmcl.errors import ConfigError, DataError

_DIGITS = 32  # of a digest, as a key


@dataclass(frozen=True)
class _PairReader:
    """Reads the thing of a pair from its first row; the texts are known.

    Attributes:
        table: the rows.
        rows: the first row of every pair.
        texts: of every pair.
    """

    table: Table
    rows: Sequence[int]
    texts: Sequence[Sequence[str]]

    def values(self, pair: int) -> Mapping[str, Any]:
        """What the row of the thing holds, with all texts."""
        return {**self.table.values(self.rows[pair]), TEXT: list(self.texts[pair])}

    def file(self, pair: int) -> Path | None:
        """The file of the thing."""
        return self.table.files(self.rows[pair])


def paired(table: Table) -> Table:
    """A table with a row for every pair. Rows that lack the thing or the text are left out, with a remark.

    Raises:
        DataError: if the rows are no pairs of one thing and a text, or none of them is complete.
    """
    if len(table.modalities) != 2 or TEXT not in table.modalities:
        raise DataError(
            f"data set {table.name!r}",
            found=f"rows of {', '.join(sorted(table.modalities))}",
            allowed="pairs: a text and one other modality",
            remedy="Say what the columns hold with columns={'picture': 'image', 'title': 'text', 'number': None}. "
            "Pictures in folders have no texts: list them in a CSV file.",
        )
    thing, _ = matched(table.modalities)
    places = places_below([table.files(row) for row in range(len(table))], table.root)
    found: dict[tuple[str, ...], dict[int, list[str]]] = {}
    lacking = 0
    with drawing_alike(SPLIT_SEED) as again:
        for row, place in enumerate(places):
            again()
            values = table.read(row) if place is None else table.values(row)
            said = _texts(values.get(TEXT), f"data set {table.name!r}, row {row}")
            if not said or values.get(thing) is None:
                lacking += 1
                continue
            key = content_key({thing: values[thing]})[:_DIGITS] if place is None else place
            where = [facts[row] for facts in (table.groups, table.sides) if facts is not None]
            found.setdefault((key, *where), {})[row] = said
    if not found:
        raise DataError(
            f"data set {table.name!r}",
            found=f"no row that has both {thing} and text",
            allowed="at least one such row",
            remedy="Fill them in, or name other columns.",
        )
    rows = [min(said) for said in found.values()]
    reader = _PairReader(table, rows, [_joined(list(said.values())) for said in found.values()])
    remark = f"data set {table.name!r}: {lacking} of {len(table)} rows lack {thing} or text and are left out."
    return replace(
        table,
        labels=[0] * len(rows),
        values=reader.values,
        files=reader.file,
        stacked=None,
        groups=None if table.groups is None else [table.groups[row] for row in rows],
        sides=None if table.sides is None else [table.sides[row] for row in rows],
        known_keys=tuple(key for key, *_ in found),
        remarks=(*table.remarks, *([remark] if lacking else [])),
    )


class EachCaption:
    """Pairs for retrieval: a sample with the first text of each, and one of a text alone for each further one.

    Samples of one pair have one target, the position of the pair.

    Args:
        samples: pairs, whose texts may be lists.
    """

    def __init__(self, samples: TableSamples) -> None:
        self.samples = samples
        self.texts = [_texts(samples.table.values(row)[TEXT], samples.table.name) for row in samples.rows]
        self.places = [(pair, number) for pair, said in enumerate(self.texts) for number in range(len(said))]
        self.targets = [pair for pair, _ in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        pair, number = self.places[index]
        return self._further(index) if number else self._first(self.samples[pair], pair)

    def outline(self, index: int) -> Sample | None:
        """The sample with the path of its picture in place of the picture, if the picture has a file of its own."""
        pair, number = self.places[index]
        if number:
            return self._further(index)
        known = self.samples.outline(pair)
        return None if known is None else self._first(known, pair)

    def sample_id(self, index: int) -> str:
        """The id of a sample, without reading it."""
        pair, number = self.places[index]
        return self.samples.sample_id(pair) + (f"#text {number + 1}" if number else "")

    def path(self, index: int) -> Path | None:
        """The file of the pair, if it has one."""
        return self.samples.path(self.places[index][0])

    def _first(self, sample: Sample, pair: int) -> Sample:
        return replace(sample, inputs={**sample.inputs, TEXT: self.texts[pair][0]}, target=pair)

    def _further(self, index: int) -> Sample:
        pair, number = self.places[index]
        return Sample({TEXT: self.texts[pair][number]}, pair, self.sample_id(index), self.samples.task_id)


def dealt(table: Table, parts: int) -> Table:
    """The table with groups ``part 1`` to ``part N`` of equal size, drawn by what the rows are and not by their order.

    Raises:
        ConfigError: if there are fewer rows than two for every part.
    """
    if not 0 < 2 * parts <= len(table):
        raise ConfigError(
            "experiences",
            found=f"{parts} of {len(table)} pairs",
            allowed="at least one, and two pairs in each",
            remedy="Choose fewer.",
        )
    called = parts_called(parts)
    drawn = sorted(range(len(table)), key=lambda row: sha256(f"{SPLIT_SEED}/deal/{table.ids[row]}".encode()).digest())
    groups = [""] * len(table)
    for place, row in enumerate(drawn):
        groups[row] = called[place * parts // len(table)]
    return replace(table, groups=groups)


def parts_called(parts: int) -> list[str]:
    """``part 1`` to ``part N``."""
    return [f"part {number}" for number in range(1, parts + 1)]


def _texts(value: Any, who: str) -> list[str]:
    """All texts of a row; none if it has none."""
    said = [] if value is None else captions_of(value, who)
    return [said] if isinstance(said, str) else said


def _joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """The texts of some rows, each once; of several rows sorted, since their order is nothing."""
    every = list(dict.fromkeys(text for said in rows for text in said))
    return every if len(rows) == 1 else sorted(every)
