"""From samples to batches: preprocessing, stacking, zero-filling and presence masks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcl.data.bulk import Bulk, batch_of, stacked
from mmcl.data.captions import one_of
from mmcl.data.modality import TEXT, ModalitySpec
from mmcl.data.sample import Batch, Inputs, Sample, SampleDataset
from mmcl.errors import DataError, MMCLError

Preprocess = Mapping[str, Callable[[Any], Tensor]]


class Prepared(Bulk):
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

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """What needs no preparation."""
        return batch_of(self.samples, indices)

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
        values: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        brought = self.modalities.union(*(sample.inputs for sample in samples))
        for name, spec in self.specs.items():
            if name not in brought:
                continue
            column = [sample.inputs.get(name) for sample in samples]
            present[name] = torch.tensor([value is not None for value in column])
            found = stacked([spec.missing() if value is None else value for value in column])
            if found is None or found.shape[1:] != spec.shape:
                raise _misshapen(name, spec, zip((sample.sample_id for sample in samples), column, strict=True))
            values[name] = found
        task_ids = torch.tensor([sample.task_id for sample in samples])
        whole = frozenset(name for name in values if all(name in sample.inputs for sample in samples))
        inputs = Inputs(values, present, tuple(sample.sample_id for sample in samples), task_ids, whole=whole)
        return Batch(inputs, torch.as_tensor([sample.target for sample in samples]), task_ids)

    def complete(self, batch: Batch) -> Batch:
        """A batch that a data set has stacked by itself, with the modalities of the stream, and of the backbone alone.

        Raises:
            DataError: if its values have another shape than the backbone's.
        """
        inputs = batch.inputs
        for name in inputs.present:
            if name in self.specs and inputs[name].shape[1:] != self.specs[name].shape:
                raise _misshapen(name, self.specs[name], zip(inputs.sample_ids, inputs[name], strict=True))
        if self.modalities <= inputs.present.keys() <= self.specs.keys():
            return batch
        rows = len(batch.targets)
        values, present = {}, {}
        for name, spec in self.specs.items():
            if name in inputs:
                values[name], present[name] = inputs[name], inputs.present[name]
            elif name in self.modalities:
                values[name] = spec.missing().expand(rows, *spec.shape).clone()
                present[name] = torch.zeros(rows, dtype=torch.bool)
        return batch._replace(inputs=inputs.replace(values=values, present=present))


def _misshapen(name: str, spec: ModalitySpec, rows: Iterable[tuple[str, Any]]) -> DataError:
    """What to say of the first value that is shaped otherwise than a backbone takes it."""
    odd = ((id_, value) for id_, value in rows if value is not None and getattr(value, "shape", None) != spec.shape)
    id_, value = next(odd, ("?", None))
    return DataError(
        f"sample {id_}",
        found=f"{name} of shape {list(getattr(value, 'shape', ()))} after preprocessing",
        allowed=f"{list(spec.shape)} everywhere, as the backbone takes it",
        remedy="Cut or pad the values to one size.",
    )


class TensorSamples(Bulk):
    """Samples that already are tensors in memory, one stacked tensor per modality.

    A step costs a few indexing operations instead of several Python calls per sample.

    Args:
        values: modality -> ``[N, ...]``.
        targets: ``[N]``.
        task_id: the experience all samples belong to.
        present: modality -> ``bool[N]``, which rows hold a value, for modalities that some samples lack.

    Raises:
        DataError: if the lengths differ.
    """

    finished = True

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

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some rows of every tensor."""
        rows = torch.tensor(indices)
        task_ids = torch.full((len(indices),), self.task_id)
        present = {name: held[rows] for name, held in self.present.items()}
        values = {name: value[rows] for name, value in self.values.items()}
        ids = tuple([f"{self.task_id}/{index}" for index in indices])
        return Batch(Inputs(values, present, ids, task_ids, whole=self._whole), self.targets[rows], task_ids)


def concatenate(first: Batch, second: Batch) -> Batch:
    """Rows of ``first``, then rows of ``second``; both have the same modalities."""
    return first.followed_by(second)
