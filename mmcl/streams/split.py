"""Own data become a stream: by class (CIL, TIL), by domain (DIL), by task (TIL, MDTIL).

    stream = mmcl.streams.by_class(ImageFolder("birds"), experiences=10)
    stream = mmcl.streams.by_domain({"photo": a, "sketch": b})
    stream = mmcl.streams.by_task({"reviews": texts, "actions": videos})
    mmcl.run(benchmark=stream, strategies=["replay"])

What a data set may be, ``mmcl.data.tabulation`` says. A class is an id with a name: names are compared as people read
them, in train and test data and across domains, and two classes of one name are refused. A declared class without rows
is left out. Without test data of their own, 20 % of the rows of every class are put aside; which ones depends on what
they hold (``mmcl.data.holdout``), so that the order of rows is nothing. A scenario's promises are checked when the
stream is built.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.names import plain_name
from mmcl.data.table import Table
from mmcl.data.tabulation import Columns, tabulated
from mmcl.data.templates import Template, templates_of
from mmcl.errors import ConfigError, DataError, nearest
from mmcl.remarks import Remarks
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.grouping import class_groups, group_names, group_sizes
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.streams.sides import Sides

EDITION = "own"


def by_class(
    data: Any,
    test: Any = None,
    *,
    experiences: int | Sequence[int],
    scenario: str = "CIL",
    order: Sequence[int] | Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """One data set whose classes arrive one group after the other.

    Args:
        data: training data, or all of them.
        test: test data of the same make; their classes are matched by name.
        experiences: how many, or how many classes each of them has.
        scenario: ``"CIL"``, or ``"TIL"`` to reveal at test time which group a sample belongs to.
        order: the classes by name or number in the order of their arrival; by default that of the data set.
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if scenario, order, sizes or templates are impossible.
        DataError: if the data cannot be read or do not keep the scenario's promises.
    """
    possible = {kind.name: kind for kind in (CIL, TIL)}
    if scenario not in possible:
        raise ConfigError(
            f"scenario {scenario!r}",
            found="classes that arrive in groups do not make it",
            allowed=" or ".join(possible),
            remedy=nearest(scenario, possible),
        )
    prompts = templates_of(templates)
    read = partial(tabulated, label=label, columns=columns, ready=ready)
    sides = Sides(read(data, name), None if test is None else read(test, f"{name}-test"))
    names = sides.train.names
    positions = _positions(order, names, sides.classes)
    sizes = group_sizes(len(positions), experiences) if isinstance(experiences, int) else tuple(experiences)
    groups = class_groups(positions, sizes)
    ids = {label_: position for position, label_ in enumerate(positions)}
    parts = []
    for index, (group, title) in enumerate(zip(groups, group_names(sizes), strict=True)):
        space = LabelSpace.of([names[i] for i in group], first_id=ids[group[0]], templates=prompts)
        train, held = sides.samples({label_: ids[label_] for label_ in group}, index)
        parts.append(ExperienceData(title, train, held, space, sides.train.modalities))
    return _benchmark(name, possible[scenario], parts, [sides], training, read)


def by_domain(
    data: Any,
    test: Mapping[str, Any] | None = None,
    *,
    order: Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    domain: str = "domain",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """The same classes in one domain after the other (DIL).

    Args:
        data: domain -> data set; or rows or a CSV file with a column for the domain.
        test: domain -> test data.
        order: the domains in the order of their arrival; by default that of the mapping, or the one in which they
            first occur in the rows.
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        domain: column of the domain.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if order or templates are impossible.
        DataError: if the data cannot be read, or a domain lacks classes or has others; the sentence names them.
    """
    prompts = templates_of(templates)
    read = partial(tabulated, label=label, columns=columns, ready=ready)
    if isinstance(data, Mapping):
        _require_same_keys(data, test, "domain")
        every = {
            title: Sides(
                read(rows, f"{name}/{title}"), None if test is None else read(test[title], f"{name}/{title}-test")
            )
            for title, rows in data.items()
        }
    else:
        every = _one_table_by_domain(read(data, name, domain=domain), domain)
    titles = _arrival(order, list(every))
    labels: dict[str, ClassLabel] = {}
    parts = []
    for index, title in enumerate(titles):
        sides = every[title]
        here = {label_: plain_name(sides.train.names[label_]) for label_ in sides.classes}
        for label_, plain in here.items():
            labels.setdefault(plain, ClassLabel(len(labels), sides.train.names[label_], prompts))
        space = LabelSpace(tuple(sorted((labels[plain] for plain in here.values()), key=lambda known: known.id)))
        train, held = sides.samples({label_: labels[plain].id for label_, plain in here.items()}, index)
        parts.append(ExperienceData(title, train, held, space, sides.train.modalities, domain=title))
    return _benchmark(name, DIL, parts, every.values(), training, read)


def by_task(
    tasks: Mapping[str, Any] | Sequence[Any],
    test: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    name: str = "own",
    label: str = "label",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """One data set after the other, each with classes of its own; TIL, or MDTIL where their modalities differ.

    Args:
        tasks: name -> data set, or data sets that are then called ``task 1``, ``task 2``, ...
        test: test data in the same form.
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if a template is none.
        DataError: if the data cannot be read.
    """
    named = _named(tasks)
    tests = None if test is None else _named(test)
    _require_same_keys(named, tests, "task")
    prompts = templates_of(templates)
    read = partial(tabulated, label=label, columns=columns, ready=ready)
    parts, every, first = [], [], 0
    for index, (title, rows) in enumerate(named.items()):
        sides = Sides(
            read(rows, f"{name}/{title}"), None if tests is None else read(tests[title], f"{name}/{title}-test")
        )
        space = LabelSpace.of([sides.train.names[i] for i in sides.classes], first_id=first, templates=prompts)
        train, held = sides.samples(dict(zip(sides.classes, space.ids, strict=True)), index)
        parts.append(ExperienceData(title, train, held, space, sides.train.modalities))
        every.append(sides)
        first += len(space)
    differ = len({part.modalities for part in parts}) > 1
    return _benchmark(name, MDTIL if differ else TIL, parts, every, training, read)


def _one_table_by_domain(rows: Table, domain: str) -> dict[str, Sides]:
    if rows.domains is None:
        raise DataError(
            f"data set {rows.name!r}",
            found=f"no column {domain!r}",
            allowed="a column that names the domain of every row, or a mapping from domain to data set",
            remedy="Say which column it is with domain=...",
        )
    rows_of: dict[str, list[int]] = {}
    for row, title in enumerate(rows.domains):
        rows_of.setdefault(title, []).append(row)
    return {title: Sides(rows, None, chosen) for title, chosen in rows_of.items()}


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


def _arrival(order: Sequence[str] | None, domains: Sequence[str]) -> Sequence[str]:
    """The domains in order of arrival."""
    if order is not None and sorted(order) != sorted(domains):
        raise ConfigError(
            "order of domains",
            found=", ".join(map(repr, order)),
            allowed=f"each of {', '.join(map(repr, domains))} once",
            remedy="List the domains as they are called.",
        )
    return domains if order is None else order


def _named(data: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {f"task {number}": part for number, part in enumerate(data, 1)}


def _require_same_keys(data: Mapping[str, Any], test: Mapping[str, Any] | None, kind: str) -> None:
    if test is not None and set(test) != set(data):
        raise DataError(
            f"test data by {kind}",
            found=f"{', '.join(map(repr, test))}",
            allowed=f"the same as for training: {', '.join(map(repr, data))}",
            remedy=f"Give test data for every {kind}, or for none.",
        )


def _benchmark(
    name: str,
    scenario: Scenario,
    parts: Sequence[ExperienceData],
    every: Iterable[Sides],
    training: Mapping[str, Any] | None,
    read: Callable[[Any, str], Table],
) -> Benchmark:
    remarks = Remarks()
    for sides in every:
        for sentence in sides.remarks:
            remarks.add(sentence)
    return Benchmark(
        name=name,
        edition=EDITION,
        scenario=scenario,
        experiences=parts,
        training=training,
        metadata={
            "convention": "own",
            "samples": {part.name: [len(part.train), len(part.test)] for part in parts},
            "digest": {part.name: _digest((part.train, part.test)) for part in parts},
        },
        remarks=remarks,
        read=read,
    )


def _digest(sides: Iterable[Any]) -> str:
    """Identifies a split by the ids and classes of its samples, without reading them."""
    lines = [f"{side.sample_id(i)} {target}" for side in sides for i, target in enumerate(side.targets)]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]
