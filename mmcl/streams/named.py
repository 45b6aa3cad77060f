"""Named: several data sets by name, or one whose rows name theirs, each with its training and its test side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder_sides import side_called
from mmcl.data.label_space import LabelSpace
from mmcl.data.names import some
from mmcl.data.table import Table
from mmcl.errors import DataError
from mmcl.signature import shown
from mmcl.streams.own import titled
from mmcl.streams.sides import Sides


def sides_by_name(
    data: Any, test: Any, kind: str, name: str, read: Callable[[Any, str], Table], names: Sequence[str] | None = None
) -> dict[str, Sides]:
    """The sides of several data sets, in their order.

    Args:
        data: name -> data set, or a list of them.
        test: test data in the same form, or ``None``.
        kind: what each is, such as ``"task"``.
        name: of the stream.
        read: data set and its name to table.
        names: as in ``named_sets``.
    """
    sets = named_sets(data, names, kind)
    tests = None if test is None else named_sets(test, names, kind)
    require_same_keys(sets, tests, kind)
    return {
        title: Sides(
            read(rows, f"{name}/{title}"), None if tests is None else read(tests[title], f"{name}/{title}-test")
        )
        for title, rows in sets.items()
    }


def sides_by_group(train: Table, test: Table | None, kind: str, column: str) -> dict[str, Sides]:
    """The sides of every group of rows, in the order in which groups first occur."""
    rows = train.rows_by_group(column)
    if test is None:
        return {title: Sides(train, None, of_group) for title, of_group in rows.items()}
    test_rows = test.rows_by_group(column)
    require_same_keys(rows, test_rows, kind)
    return {title: Sides(train, test, of_group, test_rows[title]) for title, of_group in rows.items()}


def with_own_classes(every: Mapping[str, Sides], prompts: tuple[str, ...]) -> list[ExperienceData]:
    """An experience for each data set, with classes of its own; ids are given in the order of arrival."""
    parts, first = [], 0
    for index, (title, sides) in enumerate(every.items()):
        space = LabelSpace.of([sides.train.names[i] for i in sides.classes], first_id=first, templates=prompts)
        train, held = sides.samples(dict(zip(sides.classes, space.ids, strict=True)), index)
        parts.append(ExperienceData(title, train, held, space, sides.train.modalities))
        first += len(space)
    return parts


def named_sets(sets: Any, names: Sequence[str] | None, kind: str) -> Mapping[str, Any]:
    """Several data sets by name.

    Args:
        sets: name -> data set, or a list of data sets.
        names: what to call them; by default by their names, or ``task 1``, ``task 2``, ...
        kind: what each is, such as ``"task"``.

    Raises:
        ConfigError: if there is not a name for each.
        DataError: if these are the splits or the rows of one data set.
    """
    if isinstance(sets, Mapping):
        titles, several = list(map(str, sets)), list(sets.values())
        if titles and all(map(side_called, titles)):
            raise _not_several(
                kind, f"the splits {some(titles)} of one", f"Hand over {{'a': data[{titles[0]!r}], ...}}."
            )
    elif isinstance(sets, (list, tuple)):
        titles, several = [f"{kind} {number}" for number in range(1, len(sets) + 1)], list(sets)
        if several and _is_row(several[0]):
            raise _not_several(kind, "the rows of one", f"Hand over {{'name': rows}}, a data set for each {kind}.")
    else:
        raise _not_several(kind, shown(sets), f"Hand over {{'name': data}}, a data set for each {kind}.")
    return dict(zip(titled(names, titles), several, strict=True))


def require_same_keys(data: Iterable[str], test: Iterable[str] | None, kind: str) -> None:
    """Refuse test data by name that are not for the same names.

    Raises:
        DataError: with both.
    """
    if test is not None and set(test) != set(data):
        raise DataError(
            f"test data by {kind}",
            found=f"{', '.join(map(repr, test))}",
            allowed=f"the same as for training: {', '.join(map(repr, data))}",
            remedy=f"Give test data for every {kind}, or for none.",
        )


def _is_row(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not any(side_called(str(key)) for key in value)
    return isinstance(value, tuple) and not (value and isinstance(value[0], (Mapping, tuple)))


def _not_several(kind: str, found: str, remedy: str) -> DataError:
    return DataError(
        f"data by {kind}", found=found, allowed="a dictionary from name to data set, or a list of them", remedy=remedy
    )
