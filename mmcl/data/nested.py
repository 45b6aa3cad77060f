"""Nested values: what is in the states of strategies and in the weights of models, whatever contains it."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

SEQUENCES = (list, tuple, deque)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything that is no container, in the order of the containers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif isinstance(value, (*SEQUENCES, set, frozenset)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from leaves(getattr(value, f.name), f"{path}.{f.name}")
    else:
        yield path, value


def tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Path and tensor of every tensor inside."""
    return ((path.lstrip("."), leaf) for path, leaf in leaves(value) if isinstance(leaf, Tensor))


def nbytes(value: Any) -> int:
    """Bytes of all tensors inside, by their shapes."""
    return sum(tensor.nbytes for _, tensor in tensors(value))
