"""Nested values: states, weights and answers as one thing that can be searched, copied and compared bit by bit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmcl.data.nested import SEQUENCES, leaves


def copied(value: Any) -> Any:
    """A copy that shares no tensor."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, SEQUENCES):
        return [copied(item) for item in value]
    return value


def difference(one: Any, other: Any, tolerance: float = 0.0) -> str:
    """Where two nested values first differ and by how much, in words; empty if they are the same bit by bit.

    Args:
        one: tensors, numbers and strings in containers.
        other: what it is compared with.
        tolerance: the largest difference of tensors that does not count.
    """
    mine, yours = list(leaves(one)), list(leaves(other))
    if [path for path, _ in mine] != [path for path, _ in yours]:
        odd = sorted({path for path, _ in mine} ^ {path for path, _ in yours})
        return f"only one of them has {odd[0].lstrip('.') if odd else 'this order'}"
    for (path, first), (_, second) in zip(mine, yours, strict=True):
        if found := _between(first, second, tolerance):
            return f"{path.lstrip('.') or 'they'} {found}"
    return ""


def _between(first: Any, second: Any, tolerance: float) -> str:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        same = type(first) is type(second) and (first is second or first == second or first != first)
        return "" if same else f"are {first!r} and {second!r}"
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"have shapes {list(first.shape)} and {list(second.shape)}, types {first.dtype} and {second.dtype}"
    if torch.equal(first, second):
        return ""
    if not first.is_floating_point():
        return f"differ in {int((first != second).sum())} places"
    if torch.allclose(first, second, rtol=0.0, atol=tolerance, equal_nan=True):
        return ""
    return f"differ by up to {float((first - second).abs().nan_to_num(posinf=torch.inf).max()):.3g}"
