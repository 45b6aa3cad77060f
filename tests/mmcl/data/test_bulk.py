"""Whole batches: data sets hand over what their samples would have become, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Subset as TorchSubset
from torch.utils.data import TensorDataset

import mmcl
from mmcl.data.bulk import batch_of, is_finished
from mmcl.data.collate import Collator, TensorSamples
from mmcl.data.loader import training_batches
from mmcl.data.memory import Memory, by_reference, by_value
from mmcl.data.modality import ACCELERATION, IMAGE, ModalitySpec
from mmcl.data.sample import Batch, SampleDataset
from mmcl.data.subset import Joined, Subset
from mmcl.data.table import TableSamples
from mmcl.errors import DataError
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead, PlainBackbone

ROWS, SPECS = 10, {IMAGE: ModalitySpec((3,)), ACCELERATION: ModalitySpec((2,))}
VALUES, LABELS = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)), torch.arange(ROWS) % 2
WINDOWS = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1))


class Rotated(TensorDataset):
    """Rows that some code makes of tensors."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.tensors[0][index].roll(1), self.tensors[1][index]


def own(data: Any, index: int = 0) -> SampleDataset:
    """The training samples of a domain."""
    return mmcl.streams.by_domain({"a": data, "b": data}, ready=True).experiences[index].train


def dictionaries(*lacking: int) -> list[dict[str, Any]]:
    """Rows of an image and a window; some lack the window."""
    return [
        {IMAGE: VALUES[i], ACCELERATION: None if i in lacking else WINDOWS[i], "label": int(LABELS[i])}
        for i in range(ROWS)
    ]


def remembered(keep: Callable[[SampleDataset, int], dict[str, Any]]) -> Memory:
    """Samples of two experiences in turn."""
    stream = {index: own(TensorDataset(VALUES, LABELS), index) for index in (0, 1)}
    return Memory([keep(stream[i % 2], i // 2) for i in range(8)], stream)


PAIRS = TensorDataset(VALUES, LABELS)
KINDS: dict[str, Callable[[], SampleDataset]] = {
    "tensors": lambda: own(PAIRS),
    "part of tensors": lambda: own(TorchSubset(PAIRS, [9, 1, 2, 0, 4, 5, 6, 7])),
    "arrays": lambda: own(list(zip(VALUES, LABELS, strict=True))),
    "dictionaries": lambda: own(dictionaries()),
    "subset": lambda: Subset(own(PAIRS), [7, 0, 3, 3]),
    "union": lambda: Joined([own(PAIRS), Subset(own(PAIRS, 1), [2, 1])]),
    "memory by value": lambda: remembered(lambda samples, index: by_value(samples[index])),
    "memory by reference": lambda: remembered(lambda samples, index: by_reference(samples[index].task_id, index)),
    "stacked": lambda: TensorSamples({IMAGE: VALUES, ACCELERATION: WINDOWS}, LABELS, 3),
}


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in everything."""
    tensors = [(one.targets, other.targets), (one.task_ids, other.task_ids)]
    tensors += [(one.inputs[name], other.inputs[name]) for name in one.inputs]
    tensors += [(one.inputs.present[name], other.inputs.present[name]) for name in one.inputs.present]
    return (
        all(torch.equal(a, b) and a.dtype == b.dtype for a, b in tensors)
        and one.inputs.keys() == other.inputs.keys()
        and one.inputs.sample_ids == other.inputs.sample_ids
        and torch.equal(one.inputs.task_ids, other.inputs.task_ids)  # type: ignore[arg-type]
        and one.inputs.whole == other.inputs.whole
    )


@pytest.mark.parametrize("kind", KINDS)
@given(draws=st.lists(st.integers(0, 99), min_size=1, max_size=6))
@settings(deadline=None, max_examples=15)
def test_a_batch_is_what_its_samples_would_have_become(kind: str, draws: Sequence[int]) -> None:
    samples = KINDS[kind]()
    indices = [draw % len(samples) for draw in draws]
    batch, collate = batch_of(samples, indices), Collator(SPECS)
    assert batch is not None
    assert same(collate.complete(batch), collate([samples[index] for index in indices]))


def test_rows_that_lack_a_value_are_filled_one_by_one() -> None:
    samples = own(dictionaries(0, 1, 2, 3, 4, 5, 6, 7, 8))
    assert is_finished(samples)
    indices = list(range(len(samples)))
    assert batch_of(samples, indices) is None
    loaded = next(
        iter(
            training_batches(
                samples, Collator(SPECS), batch_size=8, iterations=1, generator=torch.Generator(), augmented=True
            )
        )
    )
    assert int(loaded.inputs.present[ACCELERATION].sum()) < len(indices)


def test_what_code_makes_of_tensors_is_read_as_the_code_says() -> None:
    samples = own(Rotated(VALUES, LABELS))
    assert not is_finished(samples)
    assert batch_of(samples, [0]) is None
    assert any(torch.equal(samples[0].inputs[IMAGE], row.roll(1)) for row in VALUES)


def test_data_sets_of_different_modalities_hand_over_no_batch_together() -> None:
    assert batch_of(Joined([own(PAIRS), own(dictionaries())]), [0, 9]) is None


def test_modalities_that_a_backbone_lacks_are_not_in_its_batches() -> None:
    samples = own(dictionaries())
    batch = batch_of(samples, [0, 1])
    assert batch is not None
    assert set(Collator({IMAGE: SPECS[IMAGE]}, {IMAGE, ACCELERATION}).complete(batch).inputs) == {IMAGE}


def test_a_whole_batch_of_another_shape_is_refused_and_names_its_first_sample() -> None:
    samples = own(TensorDataset(VALUES, LABELS))
    batch = batch_of(samples, [3, 1])
    assert batch is not None
    with pytest.raises(DataError, match=samples[3].sample_id):
        Collator({IMAGE: ModalitySpec((4,))}).complete(batch)


def test_a_memory_whose_samples_must_be_prepared_hands_over_none() -> None:
    raw = own([(torch.zeros(3), 0), (torch.ones(3), 1)] * 5)
    record = by_value(raw[0])
    assert batch_of(Memory([record, record]), [0, 1]) is not None
    assert batch_of(Memory([record, {**record, "finished": False}]), [0, 1]) is None
    assert batch_of(Memory([record, by_reference(0, 1)], {0: raw}), [0, 1]) is None


def test_no_single_sample_is_read_in_training_and_testing_on_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = mmcl.streams.by_domain({"a": PAIRS, "b": TensorDataset(VALUES + 1, LABELS)}, ready=True)
    read = list[int]()
    single = TableSamples.__getitem__
    monkeypatch.setattr(TableSamples, "__getitem__", lambda self, index: read.append(index) or single(self, index))
    learner = Learner(
        model=MultimodalModel(PlainBackbone(nn.Linear(3, 2), (3,), 2), ColumnHead()),
        scenario=stream.scenario,
        training={"iterations": 3, "batch_size": 4},
    )
    learner.train(stream.train[0])
    assert learner.evaluate(stream.test[1], stream.metric) >= 0
    assert not read
