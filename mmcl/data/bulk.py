"""Bulk: data sets that hand over many samples at once, where their values are tensors that go together."""

from collections.abc import Hashable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmcl.data.sample import Batch, Inputs, SampleDataset

Name = TypeVar("Name", bound=Hashable)


class Bulk:
    """A data set that may hand over a batch without a sample in between.

    Attributes:
        finished: whether every value is a tensor in memory that a backbone takes as it is: it is neither prepared nor
            drawn with a seed, and nothing is gained by keeping what has been read.
    """

    finished: bool = False

    def batch(self, indices: Sequence[int], /) -> Batch | None:
        """These samples in this order; ``None`` where they have to be read, prepared or filled one by one."""
        return None


def is_finished(samples: SampleDataset) -> bool:
    """Whether all samples are finished, and in memory."""
    return isinstance(samples, Bulk) and samples.finished


def batch_of(samples: SampleDataset, indices: Sequence[int]) -> Batch | None:
    """A batch as the data set hands it over itself; ``None`` if it does not."""
    return samples.batch(indices) if isinstance(samples, Bulk) else None


def batch_across(parts: Mapping[Name, SampleDataset], places: Sequence[tuple[Name, int]]) -> Batch | None:
    """Samples of several data sets as one batch.

    Args:
        parts: the data sets.
        places: of every row, the data set and the index in it.

    Returns:
        the rows in this order; ``None`` if a data set does not hand over its own, or they differ in modalities.
    """
    if not places:
        return None
    rows: dict[Name, list[int]] = {}
    for row, (part, _) in enumerate(places):
        rows.setdefault(part, []).append(row)
    found = [batch_of(parts[part], [places[row][1] for row in here]) for part, here in rows.items()]
    batches = [batch for batch in found if batch is not None]
    if len(batches) < len(found) or any(one.inputs.keys() != batches[0].inputs.keys() for one in batches):
        return None
    if len(batches) == 1:
        return batches[0]
    order = torch.tensor([row for here in rows.values() for row in here])
    return reduce(Batch.followed_by, batches).select(order.argsort())


def stacked(values: Sequence[Any]) -> Tensor | None:
    """Tensors of one shape as one; ``None`` where values are none, or differ."""
    try:
        return torch.stack(values)  # type: ignore[arg-type]
    except (RuntimeError, TypeError):
        return None


def batch_from(values: Mapping[str, Tensor], targets: Tensor, sample_ids: tuple[str, ...], task_ids: Tensor) -> Batch:
    """A batch in which no row lacks anything."""
    present = torch.ones(targets.shape[0], dtype=torch.bool)
    inputs = Inputs(values, dict.fromkeys(values, present), sample_ids, task_ids, whole=frozenset(values))
    return Batch(inputs, targets, task_ids)
