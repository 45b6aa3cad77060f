"""Which samples stay in a memory: pure functions from random numbers, labels or features to slots and indices.

Reservoir sampling (Vitter 1985) in two equivalent forms: the slots of algorithm R, and random keys of which the largest
stay. After n items both keep every item with probability size/n. Keys also serve memories that are balanced over
groups or limited in bytes: an item enters with its key, and ``given_up`` names what leaves until the rest fits. Nothing
of a group may enter later with a key below that of a member given up, so that what remains of the group always has its
largest keys: with random keys a uniform sample of it, with positions in the stream as keys its latest members.
"""

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush

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


class Contest:
    """Who leaves a memory, told item by item: the keys of every group stand in a heap, so that nobody looks at all.

    It is the member of the largest group that has the smallest key. Of several largest groups it is the last item's
    own, if that is among them, else the one with the smallest number. With one group and one uniform key per item
    this is a reservoir. With a group per class it is class-balancing reservoir sampling (Chrysakis and Moens, ICML
    2020): how many items each class has does not depend on the keys, so each class is a uniform sample of itself.

    Args:
        keys: of the items inside, in the order in which they entered.
        groups: of the same items.
    """

    def __init__(self, keys: Sequence[float], groups: Sequence[int]) -> None:
        self._ranks: dict[int, list[tuple[float, int]]] = {}  # group -> keys and serial numbers, the smallest first
        self._inside: list[int] = []  # serial numbers in the order of the memory, which is increasing
        self._entered = 0
        for key, group in zip(keys, groups, strict=True):
            self.enter(key, group)

    def enter(self, key: float, group: int) -> None:
        """One more item, behind all others."""
        heappush(self._ranks.setdefault(group, []), (key, self._entered))
        self._inside.append(self._entered)
        self._entered += 1

    def give_up(self, last: int) -> int:
        """The place in the memory of the item that leaves, and is no longer inside.

        Args:
            last: the group of the item that now stands last.
        """
        largest = max(self._ranks, key=lambda group: (len(self._ranks[group]), group == last, -group))
        _, serial = heappop(self._ranks[largest])
        place = bisect_left(self._inside, serial)
        del self._inside[place]
        return place


def given_up(keys: Sequence[float], groups: Sequence[int]) -> int:
    """Index of the item that leaves a memory which has become too large by its last item, as ``Contest`` says.

    Args:
        keys: of all items, the last one included.
        groups: of the same items.
    """
    return Contest(keys, groups).give_up(groups[-1])


def herding(features: Tensor, count: int, *, unit_mean: bool = False) -> list[int]:
    """Indices of ``min(count, n)`` items whose running mean follows the mean of all, best first (iCaRL, Algorithm 4).

    With ``D_i = norm(features_i)`` and ``mu = mean_i D_i``, step k takes the item, of those not taken yet, with the
    smallest ``|| mu - (D_i + sum of the taken) / k ||``; the smallest index wins a tie. Every prefix of the result is
    what a smaller ``count`` would have given.

    Args:
        features: ``[n, D]``.
        count: how many.
        unit_mean: whether ``mu`` is brought to unit length too, as the text of the paper says.
    """
    unit = unit_length(features)
    mean = unit_length(unit.mean(0)) if unit_mean else unit.mean(0)
    total = torch.zeros_like(mean)
    order: list[int] = []
    for k in range(1, min(count, len(unit)) + 1):
        distances = (mean - (unit + total) / k).norm(dim=1)
        distances[order] = torch.inf
        order.append(int(distances.argmin()))
        total = total + unit[order[-1]]
    return order


def unit_length(features: Tensor) -> Tensor:
    """``v / (||v|| + 1e-8)`` for each row of ``[n, D]``, as released code of iCaRL writes it."""
    length: Tensor = features.norm(dim=-1, keepdim=True)
    return features / (length + 1e-8)
