"""Samples, batches, memories, label spaces."""

import io
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmcl.data.collate import Collator, Prepared, TensorSamples, concatenate
from mmcl.data.folder import folder_experience
from mmcl.data.label_space import LabelSpace
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory
from mmcl.data.modality import ModalitySpec
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL, TIL
from mmcl.testing.toy import toy_benchmark

SPECS = {"image": ModalitySpec((2,)), "text": ModalitySpec((3,), torch.long)}


def test_a_batch_holds_every_modality_of_the_stream_and_says_what_is_missing() -> None:
    samples = [
        Sample({"image": torch.ones(2)}, 0, "a", 0),
        Sample({"text": torch.ones(3, dtype=torch.long)}, 1, "b", 1),
    ]
    batch = Collator(SPECS)(samples)
    assert batch.inputs.present["image"].tolist() == [True, False]
    assert batch.inputs.present["text"].tolist() == [False, True]
    assert batch.inputs["image"].tolist() == [[1, 1], [0, 0]]
    assert batch.task_ids.tolist() == [0, 1]


def test_a_batch_holds_the_modalities_of_its_stream_and_what_samples_from_outside_bring() -> None:
    picture, words = Sample({"image": torch.ones(2)}, 0, "a", 0), Sample({"text": torch.ones(3).long()}, 1, "b", 1)
    assert set(Collator(SPECS, {"image"})([picture]).inputs) == {"image"}
    assert set(Collator(SPECS, {"image"})([words]).inputs) == {"image", "text"}


def test_stacked_tensors_are_completed_to_the_modalities_of_the_stream() -> None:
    samples = TensorSamples(
        {"image": torch.ones(3, 2)}, torch.arange(3), present={"image": torch.tensor([1, 1, 0]) > 0}
    )
    batch = Collator(SPECS).complete(samples.batch([2, 0]))
    assert batch.inputs.present["image"].tolist() == [False, True]
    assert batch.inputs.present["text"].tolist() == [False, False]
    assert batch.inputs["text"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert set(samples[2].inputs) == set()


def test_finished_tensors_are_not_preprocessed_again_when_they_are_remembered() -> None:
    memory, refuse = Memory(), {"image": lambda value: 1 / 0}
    memory.put(0, TensorSamples({"image": torch.ones(1, 2)}, torch.zeros(1))[0])
    assert Prepared(memory, refuse)[0].inputs["image"].tolist() == [1, 1]


def test_a_batch_that_a_data_set_stacks_itself_names_its_rows_as_its_samples_are_named() -> None:
    samples = TensorSamples({"image": torch.arange(6.0).reshape(3, 2)}, torch.zeros(3, dtype=torch.long), task_id=4)
    batch = samples.batch([2, 0])
    assert batch.inputs.sample_ids == tuple(samples[index].sample_id for index in (2, 0)) == ("4/2", "4/0")
    joined = concatenate(batch, Collator(SPECS)([Sample({"image": torch.ones(2)}, 0, "a", 0)]))
    assert joined.inputs.sample_ids == ("4/2", "4/0", "a")


def test_the_rows_that_have_a_modality_come_with_it_alone() -> None:
    samples = [
        Sample({"image": torch.ones(2), "text": torch.ones(3).long()}, 0, "a", 0),
        Sample({"image": torch.zeros(2)}, 0, "b", 1),
    ]
    inputs = Collator(SPECS)(samples).inputs
    images, texts = inputs.having("image"), inputs.having("text")
    assert images is not None
    assert texts is not None
    assert set(images) == {"image"}
    assert images.sample_ids == ("a", "b")
    assert (texts.sample_ids, texts["text"].tolist(), texts.present["text"].tolist()) == (("a",), [[1, 1, 1]], [True])
    assert texts.task_ids is not None
    assert texts.task_ids.tolist() == [0]
    assert images.having("text") is None
    assert Collator(SPECS)(samples[1:]).inputs.having("text") is None


def test_rows_are_selected_and_joined_with_all_that_belongs_to_them() -> None:
    samples = [Sample({"image": torch.full((2,), float(i))}, i, str(i), i % 2) for i in range(4)]
    batch = Collator(SPECS)(samples)
    odd = batch.select(batch.task_ids == 1)
    assert odd.inputs.sample_ids == ("1", "3")
    joined = concatenate(odd, batch.select(torch.tensor([0])))
    assert joined.targets.tolist() == [1, 3, 0]
    assert joined.inputs.sample_ids == ("1", "3", "0")
    assert joined.inputs.task_ids is not None
    assert joined.inputs.task_ids.tolist() == [1, 1, 0]


@given(size=st.integers(1, 30), batch=st.integers(1, 12), iterations=st.integers(0, 40))
def test_every_sample_is_shown_once_before_any_is_shown_again(size: int, batch: int, iterations: int) -> None:
    sampler = IterationSampler(size, batch, iterations, torch.Generator().manual_seed(0))
    batches = list(sampler)
    shown = [index for indices in batches for index in indices]
    assert len(batches) == len(sampler) == iterations
    for start in range(0, len(shown) - size + 1, size):
        assert sorted(shown[start : start + size]) == list(range(size))


def test_a_memory_survives_a_checkpoint_byte_for_byte() -> None:
    memory = Memory()
    picture = Image.new("RGB", (5, 4), (10, 20, 30))
    memory.put(0, Sample({"image": picture, "text": "two words", "sensor": torch.arange(3.0)}, 4, "x", 2))
    stream = io.BytesIO()
    torch.save({"records": memory.records}, stream)
    stream.seek(0)
    restored = Memory(torch.load(stream, weights_only=True)["records"])[0]
    assert restored.inputs["image"].tobytes() == picture.tobytes()
    assert restored.inputs["text"] == "two words"
    assert torch.equal(restored.inputs["sensor"], torch.arange(3.0))
    assert (restored.target, restored.sample_id, restored.task_id) == (4, "x", 2)
    assert memory.nbytes() > 12 + len("two words")


@given(ids=st.lists(st.integers(0, 50), unique=True, min_size=1))
def test_columns_invert_ids(ids: list[int]) -> None:
    every = LabelSpace.of([str(i) for i in range(60)])
    space = LabelSpace(tuple(every.classes[i] for i in ids))
    assert space.columns(torch.tensor(ids)).tolist() == list(range(len(ids)))
    assert space.columns(torch.tensor([55, 59])).tolist() == [-1, -1]
    assert space.columns(torch.tensor([-1, -2, -99])).tolist() == [-1, -1, -1]
    assert space.union(every).ids[: len(ids)] == tuple(ids)


def test_tensors_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="different lengths"):
        TensorSamples({"image": torch.zeros(3, 2)}, torch.zeros(2))


def test_a_shared_label_space_is_a_promise() -> None:
    experiences = toy_benchmark(TIL).experiences
    with pytest.raises(DataError, match=r"label spaces differ.*scenario DIL"):
        Benchmark(name="b", edition="toy", scenario=DIL, experiences=experiences)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="FOLDER/CLASS/IMAGE"):
        folder_experience(tmp_path)
