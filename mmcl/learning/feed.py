"""Feed: from samples to the batches that a model sees."""

import math
from collections.abc import Iterable, Iterator
from typing import TypedDict

import torch

from mmcl.data.bulk import batch_of, is_finished
from mmcl.data.collate import Collator
from mmcl.data.draws import Drawn, Draws, Order
from mmcl.data.loader import Kept, Loader, augmented_batches, ordered_batches, prepared, training_batches
from mmcl.data.memory import Memory
from mmcl.data.sample import Batch, SampleDataset
from mmcl.data.subset import Subset
from mmcl.learning.seeding import derive_seed
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.experience import Experience
from mmcl.training_config import TrainingConfig

# up to these sizes, prepared un-augmented samples stay in memory
_KEPT_BYTES = 2**28  # of one data set
_KEPT_BYTES_IN_ALL = 2**30


class _Loading(TypedDict):
    """How batches come to the device: nothing that changes a number."""

    num_workers: int
    pin: bool


class Feed:
    """The part of a learner that brings it batches: preparation, order, augmentation, stacking.

    Attributes:
        model: whose backbone says how samples are prepared.
        config: the settings of the current experience.
        experience: being learned or evaluated; ``None`` in between.
        device: where batches of ``one_pass`` go.
        seed: every random choice follows from it.
    """

    model: MultimodalModel
    config: TrainingConfig
    experience: Experience | None
    device: torch.device
    seed: int

    def __init__(self) -> None:
        self._collator: tuple[Experience | None, Collator] = None, Collator(self.model.backbone.specs)
        self.restart_draws()
        self.forget_prepared()

    def restart_draws(self) -> None:
        """Let ``prepare`` begin with its first augmentations again, as in every experience."""
        self._draws: dict[str, Draws] = {}

    def forget_prepared(self) -> None:
        """Prepare every sample anew from now on; what small data sets hold ready is let go."""
        self._kept: dict[int, tuple[SampleDataset, SampleDataset]] = {}
        self._room = _KEPT_BYTES_IN_ALL

    def generator(self, *names: object) -> torch.Generator:
        """A fresh generator for one purpose in the current experience; the same after a restart."""
        return torch.Generator().manual_seed(self._seed(*names))

    def batches(
        self,
        samples: SampleDataset,
        iterations: int,
        *,
        batch_size: int | None = None,
        augment: bool = True,
        name: str = "batches",
    ) -> Loader:
        """``iterations`` shuffled batches, on the CPU; their order and augmentation depend on ``name``."""
        return training_batches(
            self._prepared(samples, augment),
            self._collate,
            batch_size=self.config.batch_size if batch_size is None else batch_size,
            iterations=iterations,
            generator=self.generator(name),
            augmented=augment,
            **self._loading,
        )

    def batches_in(self, samples: SampleDataset, order: Order, *, name: str) -> Loader:
        """One augmented batch per list of indices, on the CPU; the augmentation depends on ``name``."""
        return augmented_batches(
            self._prepared(samples, augment=True), self._collate, order, seed=self._seed(name), **self._loading
        )

    def prepare(self, samples: SampleDataset, indices: Iterable[int], *, name: str = "prepare") -> Batch:
        """The named samples as one batch on the CPU, augmented anew each time in an experience; depends on ``name``."""
        chosen = list(indices)
        whole = batch_of(samples, chosen)
        if whole is not None:
            return self._collate.complete(whole)
        draws = self._draws.setdefault(name, Draws(self._seed("prepare", name)))
        return self._collate(Drawn(self._prepared(samples, augment=True)).__getitems__(draws(chosen)))

    def one_pass(self, samples: SampleDataset, batch_size: int | None = None) -> Iterator[Batch]:
        """Un-augmented batches in the order of the data set, on the device."""
        for batch in self._ordered(samples, self.config.eval_batch_size if batch_size is None else batch_size):
            yield batch.to(self.device)

    # Helpers.

    @property
    def _collate(self) -> Collator:
        """Gives every batch all modalities of the current experience's stream."""
        if self._collator[0] is not self.experience and self.experience is not None:
            collator = Collator(self.model.backbone.specs, self.experience.modalities_of_stream)
            self._collator = self.experience, collator
        return self._collator[1]

    def _prepared(self, samples: SampleDataset, augment: bool) -> SampleDataset:
        """Samples as the backbone wants them. Un-augmented ones are kept in memory while they are small."""
        backbone = self.model.backbone
        if isinstance(samples, Subset):
            return Subset(self._prepared(samples.samples, augment), samples.indices)
        if augment or is_finished(samples) or isinstance(samples, Memory):
            return prepared(samples, backbone.preprocess_train if augment else backbone.preprocess_eval, augment)
        if id(samples) not in self._kept:
            ready = prepared(samples, backbone.preprocess_eval)
            size = 4 * len(samples) * sum(math.prod(spec.shape) for spec in backbone.specs.values())
            # worker processes would each keep a copy of their own and lose it at the end of the pass
            small = size <= min(_KEPT_BYTES, self._room) and self.config.num_workers == 0
            self._room -= size if small else 0
            self._kept[id(samples)] = (samples, Kept(ready) if small else ready)
        return self._kept[id(samples)][1]

    def _ordered(self, samples: SampleDataset, batch_size: int) -> Loader:
        ready = self._prepared(samples, augment=False)
        return ordered_batches(ready, self._collate, batch_size=batch_size, **self._loading)

    @property
    def _loading(self) -> _Loading:
        return {"num_workers": self.config.num_workers, "pin": self.device.type == "cuda"}

    def _seed(self, *names: object) -> int:
        """The seed of one purpose in the current experience."""
        index = self.experience.index if self.experience is not None else -1
        return derive_seed(self.seed, index, *names)
