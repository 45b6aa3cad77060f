"""Grouping: how classes and rows are dealt out to experiences; pure functions of labels.

Own data and the official benchmarks are cut with the same ones.
"""

from collections.abc import Sequence

from mmcl.errors import ConfigError


def group_sizes(classes: int, groups: int, first: int = 0) -> tuple[int, ...]:
    """How many classes each experience gets: ``first`` in one of their own, the rest in ``groups`` of equal size.

    Where the rest does not divide, the earlier groups have one class more.

    Raises:
        ConfigError: if a group would be empty.
    """
    rest = classes - first
    if groups < 1 or rest < groups or first < 0:
        raise ConfigError(
            "classes per experience",
            found=f"{classes} classes in {groups} groups" + (f" after a first one of {first}" if first else ""),
            allowed="at least one class in every group",
            remedy="Choose fewer experiences; with 'mmcl run own' that is --set benchmark.steps=N.",
        )
    sizes = [rest // groups + (group < rest % groups) for group in range(groups)]
    return (first, *sizes) if first else tuple(sizes)


def class_groups(order: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """The classes of every experience: ``order`` cut into consecutive pieces of ``sizes``."""
    if sum(sizes) != len(order) or min(sizes, default=0) < 1:
        raise ConfigError(
            "classes per experience",
            found=f"groups of {', '.join(map(str, sizes)) or 'nothing'}, {sum(sizes)} classes in all",
            allowed=f"{len(order)} classes in all, at least one in every group",
            remedy="Correct the sizes, or give the number of experiences.",
        )
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [tuple(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def rows_by_group(labels: Sequence[int], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """The rows of every experience, in the order of the data; rows of classes in no group are left out."""
    group_of = {label: i for i, group in enumerate(groups) for label in group}
    rows: list[list[int]] = [[] for _ in groups]
    for row, label in enumerate(labels):
        if label in group_of:
            rows[group_of[label]].append(row)
    return rows


def group_names(sizes: Sequence[int]) -> list[str]:
    """Names of experiences by the positions of their classes in the order, counted from 1: ``classes 1-10``."""
    names, first = [], 1
    for size in sizes:
        names.append(f"classes {first}-{first + size - 1}" if size > 1 else f"class {first}")
        first += size
    return names
