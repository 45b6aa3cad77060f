"""Draws: which sample is read and with which seed, so that its augmentation is the same in any process.

Augmentation takes its random numbers from global generators. Who reads a sample, and what was read before it, must not
matter: each draw brings a seed of its own, made of the index and of how often that index was drawn before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from mmcl.data.sample import Sample, SampleDataset
from mmcl.data.seeding import derive_seed, kept_generators, seed_generators


class Draw(NamedTuple):
    """A sample's index and the seed of its augmentation."""

    position: int
    seed: int


class Order(Protocol):
    """A known number of index batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...


class Draws:
    """Gives every draw its seed and counts how often each index is drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._times: Counter[int] = Counter()

    def __call__(self, indices: Iterable[int]) -> list[Draw]:
        """The draws of a batch."""
        return [self._next(index) for index in indices]

    def _next(self, index: int) -> Draw:
        times = self._times[index]
        self._times[index] += 1
        return Draw(index, derive_seed(self.seed, index, times))


class DrawnBatches:
    """Index batches as batches of draws. Each pass over them has seeds of its own.

    A pass counts for itself: how far worker processes have read ahead in one that was given up changes no later one.
    """

    def __init__(self, order: Order, seed: int) -> None:
        self.order, self.seed, self.passes = order, seed, 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = Draws(derive_seed(self.seed, self.passes))
        self.passes += 1
        for indices in self.order:
            yield draws(indices)


class Drawn:
    """Samples read by draws. The global generators of the process that reads are as before afterwards."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __getitems__(self, draws: Iterable[Draw]) -> list[Sample]:
        """A batch of samples, under the name by which torch's loader asks for one."""
        with kept_generators():
            return [self._read(draw) for draw in draws]

    def _read(self, draw: Draw) -> Sample:
        seed_generators(draw.seed)
        return self.samples[draw.position]
