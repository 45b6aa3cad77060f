"""Loaders over torch's DataLoader: a fixed number of shuffled training batches, or one ordered pass."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from mmcl.data.collate import Collator, Prepared, Preprocess, TensorSamples
from mmcl.data.sample import Batch, Batches, Sample, SampleDataset


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


class _Collate:
    """A picklable ``as_batch`` for worker processes."""

    def __init__(self, collate: Collator) -> None:
        self.collate = collate

    def __call__(self, fetched: Any) -> Batch:
        return as_batch(fetched, self.collate)


def prepared(samples: SampleDataset, preprocess: Preprocess) -> SampleDataset:
    """Bind the preprocessing, except to samples that are finished tensors."""
    return samples if isinstance(samples, TensorSamples) else Prepared(samples, preprocess)


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
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """``iterations`` shuffled batches of at most ``batch_size`` samples."""
    sampler = IterationSampler(len(samples), batch_size, iterations, generator)
    return batches_in(samples, collate, sampler, generator=generator, num_workers=num_workers)


def batches_in(
    samples: SampleDataset,
    collate: Collator,
    order: Iterable[list[int]],
    *,
    generator: torch.Generator,
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """One batch per list of indices; worker processes are seeded from ``generator``."""
    worker_seeds = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator)))
    return DataLoader(
        samples,  # type: ignore[arg-type]
        batch_sampler=order,
        collate_fn=_Collate(collate),
        num_workers=num_workers,
        generator=worker_seeds,
        pin_memory=torch.cuda.is_available(),
    )


def ordered_batches(
    samples: SampleDataset, collate: Collator, *, batch_size: int, num_workers: int = 0
) -> DataLoader[Batch]:
    """One pass in the order of the data set."""
    return DataLoader(
        samples,  # type: ignore[arg-type]
        batch_size=batch_size,
        collate_fn=_Collate(collate),
        num_workers=num_workers,
        # without a generator of its own a loader draws its base seed from the global one
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )
