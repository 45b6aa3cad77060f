"""Which samples stay in a memory: pure functions from random numbers to slots and indices.

Reservoir sampling (Vitter 1985) in two equivalent forms. After n items both keep every item with probability size/n.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

REJECTED = -1


def reservoir_slot(k: int, size: int, u: float) -> int:
    """The slot that stream item ``k`` (0-based) overwrites in a memory of ``size`` slots, or ``REJECTED``.

    ``u`` is uniform on [0, 1). While the memory fills, item k takes slot k and ``u`` is ignored, but callers draw one
    number per item all the same, so that the draws do not depend on the size. Afterwards the slot is
    ``floor(u * (k + 1))``, an integer uniform on 0..k, if that is below ``size``.
    """
    if k < size:
        return k
    slot = int(u * (k + 1))
    return slot if slot < size else REJECTED


def reservoir_slots(first: int, size: int, u: Sequence[float] | Tensor) -> list[int]:
    """``reservoir_slot`` for consecutive items ``first, first + 1, ...``, one per draw in ``u``."""
    return [reservoir_slot(first + offset, size, float(draw)) for offset, draw in enumerate(u)]


def reservoir_contents(slots: Sequence[int], size: int) -> list[int]:
    """The stream position in every slot after items 0, 1, ... were written to ``slots``; -1 where a slot is empty."""
    contents = [REJECTED] * size
    for position, slot in enumerate(slots):
        if slot != REJECTED:
            contents[slot] = position
    return contents


def largest_keys(keys: Tensor, size: int) -> Tensor:
    """Indices ``int64[min(n, size)]`` of the largest of ``keys [n]``, in decreasing order; the earlier wins a tie.

    With one uniform key per item this is a uniform sample without replacement. Keys are kept with their items, so a
    stream can be inserted in chunks: keep ``largest_keys(cat([kept_keys, new_keys]), size)`` of the joined items.
    """
    return torch.argsort(keys, descending=True, stable=True)[:size]
