"""Extension: own data become the next experience of a stream that has been learned.

They are read and split as the stream's own data were. Where scenarios let classes compete across experiences, a class
that the stream knows returns under its id; else every experience has classes of its own.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.names import plain_name
from mmcl.remarks import Remarks
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.pairs import pair_experience
from mmcl.streams.sides import Sides


def with_data(benchmark: Benchmark, place: Path, recorded: Mapping[str, Any] | None = None) -> Benchmark:
    """The stream with one more experience.

    Args:
        benchmark: what has been learned before.
        place: a folder, a CSV file or a saved data set; it gives the experience its name.
        recorded: what the run knows of the experience, if it has been learned; its name and ids stay, whatever lies in
            the place today.

    Raises:
        DataError: if the data cannot be read, a class has a single row, or the scenario's promises are broken.
    """
    title = recorded["name"] if recorded else place.name if place.is_dir() else place.stem
    sides = Sides(benchmark.read(place, title), None)
    make = pair_experience if benchmark.objective == "contrastive" else partial(_of_classes, benchmark, recorded)
    remarks = Remarks()
    for sentence in sides.remarks:
        remarks.add(sentence)
    return benchmark.with_experience(make(sides, title, len(benchmark.experiences)), remarks)


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
