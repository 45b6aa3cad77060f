"""Classes arrive: in groups of any size, or category by category (CIL, TIL)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.names import plain_name, some
from mmcl.data.records import Columns
from mmcl.data.table import Table
from mmcl.data.templates import Template, templates_of
from mmcl.errors import ConfigError, DataError
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.grouping import class_groups, group_names, group_sizes
from mmcl.streams.named import named_sets, sides_by_name, with_own_classes
from mmcl.streams.own import Reference, arrival, own_benchmark, possible_scenario, titled
from mmcl.streams.reading import Reading
from mmcl.streams.scenario import CIL, TIL
from mmcl.streams.sides import Sides

_WHY = "classes that arrive in groups do not make it"


@checked
def by_class(
    data: Any,
    test: Any = None,
    *,
    experiences: int | Sequence[int],
    scenario: str = "CIL",
    order: Sequence[int] | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    reference: Reference | None = None,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """One data set whose classes arrive one group after the other.

    Args:
        data: training data, or all of them.
        test: test data of the same make; their classes are matched by name.
        experiences: how many, or how many classes each of them has.
        scenario: ``"CIL"``, or ``"TIL"`` to reveal at test time which group a sample belongs to.
        order: the classes by name or number in the order of their arrival; by default that of the data set.
        names: of the experiences; by default ``classes 1-10``.
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        reference: a folder with ``images/`` and ``captions.txt`` outside the stream, for strategies that need them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if scenario, order, sizes, names or templates are impossible.
        DataError: if the data cannot be read or do not keep the scenario's promises.
    """
    kind, prompts = possible_scenario(scenario, (CIL, TIL), _WHY), templates_of(templates)
    read = Reading(label, columns, ready)
    sides = Sides(read(data, name), None if test is None else read(test, f"{name}-test"))
    positions = _positions(order, sides.train.names, sides.classes)
    sizes = group_sizes(len(positions), experiences) if isinstance(experiences, int) else tuple(experiences)
    groups = class_groups(positions, sizes)
    parts = _experiences(sides, groups, titled(names, group_names(sizes)), prompts)
    return own_benchmark(name, kind, parts, [sides], read, training=training, reference=reference)


@checked
def by_column(
    data: Any,
    test: Any = None,
    *,
    column: str | None = None,
    scenario: str = "CIL",
    order: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    reference: Reference | None = None,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """Classes that arrive category by category, as a column has it or data sets by name.

    Args:
        data: training rows, or all of them, with a column for the category; or category -> data set. Every class
            belongs to one category.
        test: test data in the same form; classes of rows are matched by name, and need no column for the category.
        column: of the category, where data are rows; what it says becomes the name of an experience.
        scenario: ``"CIL"``, or ``"TIL"`` to reveal at test time which category a sample belongs to.
        order: the categories in the order of their arrival; by default the one in which they first occur in the rows.
        names: of the experiences, if they are to be called otherwise than the categories.
        name: of the stream.
        label: column of the class.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        reference: a folder with ``images/`` and ``captions.txt`` outside the stream, for strategies that need them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if scenario, order, names or templates are impossible.
        DataError: if the data cannot be read, lack the column, or a class belongs to two categories.
    """
    kind, prompts = possible_scenario(scenario, (CIL, TIL), _WHY), templates_of(templates)
    read = Reading(label, columns, ready, group=column, several=True)
    sets = named_sets(data, None, "category") if isinstance(data, Mapping) else None
    if (sets is None) is (column is None):
        raise ConfigError(
            "by_column",
            found="several data sets, and a column beside them" if sets else "one data set and no column",
            allowed="rows and the column of their category, or category -> data set",
            remedy="Leave the column out." if sets else "Say which column it is with column='...'.",
        )
    if column is None:
        every = sides_by_name(data, test, "category", name, read)
        titles = arrival(order, list(every), "categories")
        called = zip(titled(names, titles), titles, strict=True)
        parts = with_own_classes({said: every[title] for said, title in called}, prompts)
        return own_benchmark(name, kind, parts, every.values(), read, training=training, reference=reference)
    table = read(data, name, column=column)
    sides = Sides(table, None if test is None else read(test, f"{name}-test", column=column))
    members = _members(table, table.rows_by_group(column), sides.classes, column)
    titles = arrival(order, list(members), "categories")
    groups = [members[title] for title in titles]
    parts = _experiences(sides, groups, titled(names, titles), prompts)
    return own_benchmark(name, kind, parts, [sides], read, training=training, reference=reference)


def _experiences(
    sides: Sides, groups: Sequence[Sequence[int]], titles: Sequence[str], prompts: tuple[str, ...]
) -> list[ExperienceData]:
    """An experience for each group of the table's labels; ids are given in the order of arrival."""
    ids = {label: position for position, label in enumerate(label for group in groups for label in group)}
    parts = []
    for index, (group, title) in enumerate(zip(groups, titles, strict=True)):
        space = LabelSpace.of([sides.train.names[i] for i in group], first_id=ids[group[0]], templates=prompts)
        train, held = sides.samples({label: ids[label] for label in group}, index)
        parts.append(ExperienceData(title, train, held, space, sides.train.modalities))
    return parts


def _members(
    table: Table, rows: Mapping[str, Sequence[int]], present: Sequence[int], column: str
) -> dict[str, list[int]]:
    """The classes of every category, by number; of those that have none, nothing."""
    members = {title: sorted({table.labels[row] for row in of}.intersection(present)) for title, of in rows.items()}
    titles_of: dict[int, list[str]] = {}
    for title, labels in members.items():
        for label in labels:
            titles_of.setdefault(label, []).append(title)
    torn = next((label for label, titles in titles_of.items() if len(titles) > 1), None)
    if torn is not None:
        raise DataError(
            f"data set {table.name!r}",
            found=f"the class {table.names[torn]!r} is in {some(titles_of[torn])} by the column {column!r}",
            allowed="one category for every class",
            remedy=f"Correct the rows; if they share their classes, they are domains: by_domain(domain={column!r}).",
        )
    return {title: labels for title, labels in members.items() if labels}


def _positions(order: Sequence[int] | Sequence[str] | None, names: Sequence[str], present: Sequence[int]) -> list[int]:
    """The classes that have rows in order of arrival, by number."""
    if order is None:
        return list(present)
    number_of = {plain_name(text): i for i, text in enumerate(names)}
    positions = [number_of.get(plain_name(item), -1) if isinstance(item, str) else int(item) for item in order]
    unknown = [item for item, position in zip(order, positions, strict=True) if position not in range(len(names))]
    missing = [names[label] for label in present if label not in positions]
    if unknown or missing or len(set(positions)) < len(positions):
        raise ConfigError(
            "class order",
            found=f"it has unknown classes {unknown[:5]}" if unknown else f"it lacks {missing[:5]} or repeats a class",
            allowed=f"each of the {len(present)} classes once",
            remedy="List the classes by name or by number.",
        )
    return [position for position in positions if position in set(present)]
