"""From samples to batches: preprocessing, stacking, zero-filling and presence masks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcl.data.captions import one_of
from mmcl.data.modality import TEXT, ModalitySpec
from mmcl.data.sample import Batch, Inputs, Sample, SampleDataset
from mmcl.errors import DataError, MMCLError

Preprocess = Mapping[str, Callable[[Any], Tensor]]


class Prepared:
    """A sample data set whose values go through the backbone's preprocessing when they are read.

    Args:
        samples: raw.
        preprocess: modality -> raw value to tensor.
        augmented: whether a sample of several captions shows one of them by chance, and not the first.
    """

    def __init__(self, samples: SampleDataset, preprocess: Preprocess, augmented: bool = False) -> None:
        self.samples = samples
        self.preprocess = preprocess
        self.augmented = augmented

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if sample.finished:
            return sample
        values = {name: self._prepared(name, value, sample.sample_id) for name, value in sample.inputs.items()}
        return Sample(values, sample.target, sample.sample_id, sample.task_id, finished=True)

    def _prepared(self, modality: str, value: Any, sample_id: str) -> Tensor:
        said = one_of(value, self.augmented) if modality == TEXT else value
        try:
            return self.preprocess[modality](said)
        except MMCLError:
            raise
        except Exception as error:
            raise DataError(
                f"sample {sample_id}",
                found=f"the backbone cannot prepare its {modality}, a value of type {type(said).__name__} "
                f"({type(error).__name__}: {error})",
                allowed=f"{modality} as the backbone takes it",
                remedy="Turn the values into what the backbone asks for, or name another column.",
            ) from error


class Collator:
    """Stack prepared samples. Every modality of the stream is in every batch, absent values as the spec's fill.

    Args:
        specs: what a value of each modality looks like.
        modalities: those of the stream, by default all of ``specs``; a batch may happen to lack one altogether, and
            samples from outside the stream may bring another.
    """

    def __init__(self, specs: Mapping[str, ModalitySpec], modalities: Iterable[str] | None = None) -> None:
        self.specs = specs
        self.modalities = frozenset(specs if modalities is None else modalities)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Stack prepared samples of any subset of the modalities."""
        values, present = {}, {}
        brought = self.modalities.union(*(sample.inputs for sample in samples))
        for name, spec in self.specs.items():
            if name not in brought:
                continue
            column = [sample.inputs.get(name) for sample in samples]
            present[name] = torch.tensor([value is not None for value in column])
            values[name] = _stacked(name, spec, column, samples)
        task_ids = torch.tensor([sample.task_id for sample in samples])
        whole = frozenset(name for name in values if all(name in sample.inputs for sample in samples))
        inputs = Inputs(values, present, tuple(sample.sample_id for sample in samples), task_ids, whole=whole)
        return Batch(inputs, torch.as_tensor([sample.target for sample in samples]), task_ids)

    def complete(self, batch: Batch) -> Batch:
        """A batch that a data set has stacked by itself, with the modalities of the stream that it lacks."""
        inputs = batch.inputs
        if self.modalities <= inputs.present.keys():
            return batch
        rows = inputs.batch_size
        values, present = {}, {}
        for name, spec in self.specs.items():
            if name in inputs:
                values[name], present[name] = inputs[name], inputs.present[name]
            elif name in self.modalities:
                values[name] = spec.missing().expand(rows, *spec.shape).clone()
                present[name] = torch.zeros(rows, dtype=torch.bool)
        return batch._replace(inputs=inputs.replace(values=values, present=present))


def _stacked(name: str, spec: ModalitySpec, column: Sequence[Any], samples: Sequence[Sample]) -> Tensor:
    """The values of a modality as one tensor.

    Raises:
        DataError: if a value has another shape than a backbone's.
    """
    try:
        stacked = torch.stack([spec.missing() if value is None else value for value in column])
    except (RuntimeError, TypeError):
        stacked = None
    if stacked is not None and stacked.shape[1:] == spec.shape:
        return stacked
    odd = ((s.sample_id, v) for s, v in zip(samples, column, strict=True) if v is not None)
    id_, value = next(((i, v) for i, v in odd if getattr(v, "shape", None) != spec.shape), ("?", None))
    raise DataError(
        f"sample {id_}",
        found=f"{name} of shape {list(getattr(value, 'shape', ()))} after preprocessing",
        allowed=f"{list(spec.shape)} everywhere, as the backbone takes it",
        remedy="Cut or pad the values to one size.",
    )


class TensorSamples:
    """Samples that already are tensors in memory, one stacked tensor per modality.

    ``__getitems__`` hands a whole batch to the loader at once, so a step costs a few indexing operations instead of
    one Python call per sample.

    Args:
        values: modality -> ``[N, ...]``.
        targets: ``[N]``.
        task_id: the experience all samples belong to.
        present: modality -> ``bool[N]``, which rows hold a value, for modalities that some samples lack.

    Raises:
        DataError: if the lengths differ.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        targets: Tensor,
        task_id: int = 0,
        present: Mapping[str, Tensor] | None = None,
    ) -> None:
        lengths = {name: len(value) for name, value in values.items()} | {"targets": len(targets)}
        lengths |= {f"presence of {name}": len(rows) for name, rows in (present or {}).items()}
        if len(set(lengths.values())) != 1:
            raise DataError(
                "TensorSamples",
                found=f"different lengths {lengths}",
                allowed="the same number of rows everywhere",
                remedy="Cut the tensors to a common length.",
            )
        self.values = dict(values)
        self.targets = targets
        self.task_id = task_id
        everywhere = torch.ones(len(targets), dtype=torch.bool)
        self.present = dict.fromkeys(values, everywhere) | dict(present or {})
        # of the whole set: that a batch happens to lack nothing is not worth a look at it
        self._whole = frozenset(name for name, held in self.present.items() if bool(held.all()))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        values = {name: value[index] for name, value in self.values.items() if self.present[name][index]}
        return Sample(values, self.targets[index], f"{self.task_id}/{index}", self.task_id, finished=True)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch; torch's loader prefers this method where it exists."""
        rows = torch.tensor(indices)
        task_ids = torch.full((len(indices),), self.task_id)
        present = {name: held[rows] for name, held in self.present.items()}
        values = {name: value[rows] for name, value in self.values.items()}
        ids = tuple([f"{self.task_id}/{index}" for index in indices])
        return Batch(Inputs(values, present, ids, task_ids, whole=self._whole), self.targets[rows], task_ids)


def concatenate(first: Batch, second: Batch) -> Batch:
    """Rows of ``first``, then rows of ``second``; both have the same modalities."""
    return Batch(
        first.inputs.followed_by(second.inputs),
        torch.cat([first.targets, second.targets]),
        torch.cat([first.task_ids, second.task_ids]),
    )
