"""Extension: own data become the next experiences of a stream that has been learned.

They are read and split as the stream's own data were, and where a column or a folder for each tells those apart, it
tells these apart, too. Where scenarios let classes compete across experiences, a class that the stream knows returns
under its id; else every experience has classes of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcl.data.asked import AnswerKind
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.names import plain_name
from mmcl.data.places import holds_sets, sets_below
from mmcl.data.table import Table
from mmcl.errors import DataError
from mmcl.remarks import Remarks
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.pairs import pair_experience
from mmcl.streams.sides import Sides


def with_data(benchmark: Benchmark, place: Path, recorded: Sequence[Mapping[str, Any]] = ()) -> Benchmark:
    """The stream with what lies in a place: an experience, or one for each group of rows or data set in it.

    Args:
        benchmark: what has been learned before.
        place: a folder, a CSV file or a saved data set.
        recorded: what the run knows of the experiences that it has learned from there and later; their names and ids
            stay, whatever lies in the place today.

    Raises:
        DataError: if the data cannot be read, a class has a single row, an experience is called as one that has been
            learned, or the scenario's promises are broken.
    """
    make = pair_experience if benchmark.objective.answers is AnswerKind.PARTNER else None
    for number, (called, table, rows) in enumerate(_parts(benchmark, place)):
        known = recorded[number] if number < len(recorded) else None
        title = called if known is None else known["name"]
        if title in [part.name for part in benchmark.experiences]:
            raise DataError(
                f"data {place}",
                found=f"{title!r}, which has been learned already",
                allowed="experiences that are new to the run, each with a name of its own",
                remedy="Leave out what has been learned, or rename what is new.",
            )
        sides = Sides(replace(table, name=title, known_keys=table.keys), None, rows)
        remarks = Remarks()
        for sentence in sides.remarks:
            remarks.add(sentence)
        index = len(benchmark.experiences)
        added = _of_classes(benchmark, known, sides, title, index) if make is None else make(sides, title, index)
        benchmark = benchmark.with_experience(added, remarks)
    return benchmark


def _parts(benchmark: Benchmark, place: Path) -> Iterator[tuple[str, Table, Sequence[int] | None]]:
    """The name, the table and the rows of every experience in a place; ``None`` for all rows."""
    read = benchmark.read
    classes = read.label is not None
    if read.several and holds_sets(place, classes):
        sets = sets_below(place, classes)
        if not _are_classes(benchmark, sets):
            yield from ((title, read(data_set, title), None) for title, data_set in sets.items())
            return
    called = place.name if place.is_dir() else place.stem
    table = read(place, called, read.group)
    if table.groups is None:
        yield called, table, None
        return
    yield from ((title, table, rows) for title, rows in table.rows_by_group(read.group or "").items())


def _are_classes(benchmark: Benchmark, names: Iterable[str]) -> bool:
    """Whether sub-folders are called as classes of the stream are, whose pictures may lie deeper."""
    known = {plain_name(label.name) for label in benchmark.label_space}
    return {plain_name(name) for name in names} <= known


def _of_classes(
    benchmark: Benchmark, recorded: Mapping[str, Any] | None, sides: Sides, title: str, index: int
) -> ExperienceData:
    labels = _classes(benchmark, sides, recorded)
    train, test = sides.samples({number: label.id for number, label in labels.items()}, index)
    space = LabelSpace(tuple(sorted(labels.values(), key=lambda label: label.id)))
    return ExperienceData(title, train, test, space, sides.train.modalities, domain=title)


def _classes(benchmark: Benchmark, sides: Sides, recorded: Mapping[str, Any] | None) -> dict[int, ClassLabel]:
    """Class of the data, by number -> the known one that means the same, or a new one."""
    space = benchmark.label_space
    learned = LabelSpace() if recorded is None else LabelSpace.from_list(recorded["classes"])
    own = benchmark.scenario.label_space_at_test == "own"
    known = {plain_name(label.name): label for label in (learned if recorded else () if own else space)}
    prompts = {label.templates for label in space}
    templates = prompts.pop() if len(prompts) == 1 else None
    fresh = max((*space.ids, *learned.ids), default=-1) + 1
    labels: dict[int, ClassLabel] = {}
    for number in sides.classes:
        name = sides.train.names[number]
        if plain_name(name) not in known:
            known[plain_name(name)] = LabelSpace.of([name], first_id=fresh, templates=templates).classes[0]
            fresh += 1
        labels[number] = known[plain_name(name)]
    return labels
