"""Scenarios, experiences and benchmarks, and how data sets are split into them.

    stream = mmcl.streams.by_class(ImageFolder("birds"), experiences=10)
    stream = mmcl.streams.by_column("emoji.csv", column="category")
    stream = mmcl.streams.by_domain({"photo": a, "sketch": b})
    stream = mmcl.streams.by_task({"reviews": texts, "actions": videos})
    stream = mmcl.streams.of_pairs("products.csv", column="season")
    mmcl.run(benchmark=stream, strategies=["replay"])

What a data set may be, ``mmcl.data.tabulation`` says. A class is an id with a name: names are compared as people read
them, in train and test data and across domains, and two classes of one name are refused. A declared class without rows
is left out. Without test data of their own, 20 % of the rows of every class are put aside; which ones depends on what
they hold (``mmcl.data.holdout``), so that the order of rows is nothing. A scenario's promises are checked when the
stream is built.

The functions are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcl.streams.classes import by_class, by_column
    from mmcl.streams.domains import by_domain
    from mmcl.streams.pairs import of_pairs
    from mmcl.streams.tasks import by_task

_HOMES = {
    "by_class": "classes",
    "by_column": "classes",
    "by_domain": "domains",
    "by_task": "tasks",
    "of_pairs": "pairs",
}

__all__ = ["by_class", "by_column", "by_domain", "by_task", "of_pairs"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmcl.streams' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"mmcl.streams.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
