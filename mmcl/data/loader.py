"""Loaders: a fixed number of shuffled training batches, or one ordered pass."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from mmcl.data.bulk import Bulk, batch_of, is_finished
from mmcl.data.collate import Collator, Prepared, Preprocess
from mmcl.data.draws import Drawn, DrawnBatches, Order
from mmcl.data.sample import Batch, Batches, Sample, SampleDataset
from mmcl.errors import MMCLError


class IterationSampler(Sampler[list[int]]):
    """Exactly ``iterations`` index batches; the data are reshuffled whenever they are exhausted.

    As in the loops that count iterations (ZSCL), a pass ends with a smaller batch when the size does not divide.
    """

    def __init__(self, size: int, batch_size: int, iterations: int, generator: torch.Generator) -> None:
        self.size, self.batch_size, self.iterations = size, batch_size, iterations
        self.generator = generator

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[list[int]]:
        remaining = self.iterations if self.size else 0
        while remaining:
            order = torch.randperm(self.size, generator=self.generator).tolist()
            for begin in islice(range(0, self.size, self.batch_size), remaining):
                yield order[begin : begin + self.batch_size]
                remaining -= 1


def as_batch(fetched: Any, collate: Collator) -> Batch:
    """Data sets with a batched path hand over a stacked batch; everything else is collated."""
    return collate.complete(fetched) if isinstance(fetched, Batch) else collate(fetched)


class Parcel:
    """A batch on its way through torch's loader.

    When it pins a mapping or a tuple, torch builds another one of its items; a batch has more to it and pins itself.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def pin_memory(self) -> "Parcel":
        """The same in page-locked memory, from which a GPU copies without waiting."""
        return Parcel(self.batch.pin_memory())


class _Pack:
    """A picklable ``as_batch`` for worker processes."""

    def __init__(self, collate: Collator) -> None:
        self.collate = collate

    def __call__(self, fetched: Any) -> "Parcel | MMCLError":
        return fetched if isinstance(fetched, MMCLError) else Parcel(as_batch(fetched, self.collate))


class _Told:
    """Reads and stacks in a worker process, and hands over what it refuses: torch would make a traceback of it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, given: Any) -> Any:
        try:
            return self.work(given)
        except MMCLError as error:
            return error


class Fetched:
    """Samples read by batches of indices, all at once where the data set hands them over so."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Sample]:
        """A batch, under the name by which torch's loader asks for one."""
        whole = batch_of(self.samples, indices)
        return [self.samples[index] for index in indices] if whole is None else whole


class _Sent(Dataset[Sample]):
    """A reader as worker processes have it."""

    def __init__(self, reader: "Fetched | Drawn") -> None:
        self.__getitems__ = _Told(reader.__getitems__)


class Loader:
    """Batches of samples, by torch's ``DataLoader`` where worker processes or page-locked memory ask for one.

    Args:
        reader: of a batch.
        collate: stacks it, unless it is stacked.
        order: what the reader is asked for each batch.
        num_workers: worker processes; 0 reads in this one.
        pin: whether batches are put into page-locked memory, for a CUDA device.
    """

    def __init__(
        self,
        reader: Fetched | Drawn,
        collate: Collator,
        order: Order | DrawnBatches | BatchSampler,
        *,
        num_workers: int = 0,
        pin: bool = False,
    ) -> None:
        self.reader, self.collate, self.order = reader, collate, order
        self.num_workers, self.pin = num_workers, pin

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        if self.num_workers or self.pin:
            return map(_batch, self.loader)
        return (as_batch(self.reader.__getitems__(asked), self.collate) for asked in self.order)  # type: ignore[arg-type]

    @cached_property
    def loader(self) -> DataLoader[Any]:
        """Torch's one, which hands over parcels."""
        return DataLoader(
            _Sent(self.reader),
            batch_sampler=self.order,
            collate_fn=_Told(_Pack(self.collate)),
            num_workers=self.num_workers,
            # without a generator of its own a loader draws its base seed from the global one
            generator=torch.Generator(),
            pin_memory=self.pin,
        )


def _batch(parcel: "Parcel | MMCLError") -> Batch:
    if isinstance(parcel, MMCLError):
        raise parcel
    return parcel.batch


def prepared(samples: SampleDataset, preprocess: Preprocess, augmented: bool = False) -> SampleDataset:
    """Bind the preprocessing, except to samples that are finished tensors."""
    return samples if is_finished(samples) else Prepared(samples, preprocess, augmented)


class Kept(Bulk):
    """Keeps what a deterministic data set returned, so that decoding and preprocessing happen once a sample."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """What is in memory already."""
        return batch_of(self.samples, indices)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self.samples[index]
        return self._kept[index]


class Cycled:
    """``iterations`` batches from a loader that begins anew whenever it is exhausted; none from an empty one."""

    def __init__(self, loader: Batches, iterations: int) -> None:
        self.loader = loader
        self.iterations = iterations if len(loader) else 0

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[Batch]:
        remaining = self.iterations
        while remaining:
            for batch in islice(self.loader, remaining):
                yield batch
                remaining -= 1


def training_batches(
    samples: SampleDataset,
    collate: Collator,
    *,
    batch_size: int,
    iterations: int,
    generator: torch.Generator,
    augmented: bool,
    num_workers: int = 0,
    pin: bool = False,
) -> Loader:
    """``iterations`` shuffled batches of at most ``batch_size`` samples; order and augmentation from ``generator``."""
    seed = int(torch.randint(2**31, (), generator=generator))
    order = IterationSampler(len(samples), batch_size, iterations, generator)
    if augmented:
        return augmented_batches(samples, collate, order, seed=seed, num_workers=num_workers, pin=pin)
    return Loader(Fetched(samples), collate, order, num_workers=num_workers, pin=pin)


def augmented_batches(
    samples: SampleDataset,
    collate: Collator,
    order: Order,
    *,
    seed: int,
    num_workers: int = 0,
    pin: bool = False,
) -> Loader:
    """One batch per list of indices; a sample's augmentation depends on ``seed``, its index and its turn alone."""
    if is_finished(samples):
        return Loader(Fetched(samples), collate, order, num_workers=num_workers, pin=pin)
    return Loader(Drawn(samples), collate, DrawnBatches(order, seed), num_workers=num_workers, pin=pin)


def ordered_batches(
    samples: SampleDataset, collate: Collator, *, batch_size: int, num_workers: int = 0, pin: bool = False
) -> Loader:
    """One pass in the order of the data set."""
    order = BatchSampler(range(len(samples)), batch_size, drop_last=False)
    return Loader(Fetched(samples), collate, order, num_workers=num_workers, pin=pin)
