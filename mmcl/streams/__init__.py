"""Scenarios, experiences and benchmarks, and how data sets are split into them.

The functions below are loaded when they are first used, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcl.streams.split import by_class, by_domain, by_task

__all__ = ["by_class", "by_domain", "by_task"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mmcl.streams' has no attribute {name!r}; it has {', '.join(__all__)}")
    from mmcl.streams import split

    return getattr(split, name)
