"""Size of a Fisher information before it is remembered: an upper bound, a norm."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Named = Mapping[str, Tensor]
Norm = Literal["none", "max", "l1_mean", "l2"]


def clipped(fisher: Named, limit: float | None) -> dict[str, Tensor]:
    """``min(F, limit)`` entry by entry (PyCIL: 1e-4); unchanged without a limit."""
    return {name: tensor if limit is None else tensor.clamp(max=limit) for name, tensor in fisher.items()}


def normalised(fisher: Named, norm: Norm) -> dict[str, Tensor]:
    """All tensors divided by one number, so that experiences count alike, zeros stay zeros."""
    filled = {name: tensor for name, tensor in fisher.items() if tensor.numel()}
    size = float(NORMS[norm](filled)) if filled else 0.0
    return {name: tensor / size if size > 0 else tensor for name, tensor in fisher.items()}


def _entries(fisher: Named) -> int:
    return sum(tensor.numel() for tensor in fisher.values())


NORMS: Mapping[Norm, Callable[[Named], Tensor]] = {
    "none": lambda fisher: torch.ones(()),
    "max": lambda fisher: torch.stack([tensor.max() for tensor in fisher.values()]).max(),
    "l1_mean": lambda fisher: torch.stack([t.double().sum() for t in fisher.values()]).sum() / _entries(fisher),
    "l2": lambda fisher: torch.stack([t.double().square().sum() for t in fisher.values()]).sum().sqrt(),
}
