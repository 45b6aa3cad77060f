"""Loaders over torch's DataLoader: a fixed number of shuffled training batches, or one ordered pass."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from mmcl.data.collate import Collator, Prepared, Preprocess, TensorSamples
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
        order: list[int] = []
        for _ in range(self.iterations):
            if not order:
                order = torch.randperm(self.size, generator=self.generator).tolist()
            yield order[: self.batch_size]
            order = order[self.batch_size :]


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


class _Fetching(Dataset[Sample]):
    """Samples by batches of indices, under the name by which torch's loader asks for one."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples
        self.__getitems__ = _Told(self._fetch)

    def _fetch(self, indices: Any) -> Any:
        batched = getattr(self.samples, "__getitems__", None)
        return [self.samples[index] for index in indices] if batched is None else batched(indices)


class Loader:
    """Batches of samples by torch's ``DataLoader``, in worker processes if wanted.

    Args:
        samples: what is read, one call per index or, with ``__getitems__``, one per batch.
        collate: stacks them.
        order: a batch of indices for each batch.
        num_workers: worker processes; 0 reads in this one.
        pin: whether batches are put into page-locked memory, for a CUDA device.
    """

    def __init__(
        self, samples: Any, collate: Collator, order: Iterable[Any], *, num_workers: int = 0, pin: bool = False
    ) -> None:
        self.loader: DataLoader[Any] = DataLoader(
            _Fetching(samples) if num_workers else samples,
            batch_sampler=order,
            collate_fn=_Told(_Pack(collate)) if num_workers else _Pack(collate),
            num_workers=num_workers,
            # without a generator of its own a loader draws its base seed from the global one
            generator=torch.Generator(),
            pin_memory=pin,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return map(_batch, self.loader)


def _batch(parcel: "Parcel | MMCLError") -> Batch:
    if isinstance(parcel, MMCLError):
        raise parcel
    return parcel.batch


def prepared(samples: SampleDataset, preprocess: Preprocess, augmented: bool = False) -> SampleDataset:
    """Bind the preprocessing, except to samples that are finished tensors."""
    return samples if isinstance(samples, TensorSamples) else Prepared(samples, preprocess, augmented)


class Kept:
    """Keeps what a deterministic data set returned, so that decoding and preprocessing happen once a sample."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.samples)

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
    return Loader(samples, collate, order, num_workers=num_workers, pin=pin)


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
    if isinstance(samples, TensorSamples):  # finished, and handed over in whole batches
        return Loader(samples, collate, order, num_workers=num_workers, pin=pin)
    return Loader(Drawn(samples), collate, DrawnBatches(order, seed), num_workers=num_workers, pin=pin)


def ordered_batches(
    samples: SampleDataset, collate: Collator, *, batch_size: int, num_workers: int = 0, pin: bool = False
) -> Loader:
    """One pass in the order of the data set."""
    order = BatchSampler(range(len(samples)), batch_size, drop_last=False)
    return Loader(samples, collate, order, num_workers=num_workers, pin=pin)
