"""What a memory keeps, in which form, and what it weighs."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from mmcl.data.memory import Memory, by_reference, by_value, nbytes
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.streams.scenario import MDTIL, TIL
from mmcl.testing.toy import toy_benchmark


def restored(memory: Memory) -> Memory:
    """The same memory after a checkpoint."""
    stream = io.BytesIO()
    torch.save({"records": memory.records}, stream)
    stream.seek(0)
    return Memory(torch.load(stream, weights_only=True)["records"], memory.stream)


def same(first: Sample, second: Sample) -> bool:
    values = first.inputs.keys() == second.inputs.keys() and all(
        torch.equal(value, second.inputs[name]) for name, value in first.inputs.items()
    )
    return values and (first.target, first.sample_id, first.task_id) == (
        second.target,
        second.sample_id,
        second.task_id,
    )


def test_a_slot_holds_all_modalities_of_a_sample_and_no_others() -> None:
    samples = toy_benchmark(MDTIL).train[2].samples
    memory = Memory([by_value(samples[index]) for index in range(6)])
    for index in range(6):
        assert same(restored(memory)[index], samples[index])
    assert [set(memory[index].inputs) for index in range(3)] == [{IMAGE, TEXT}, {TEXT}, {IMAGE}]


def test_values_are_copies_that_own_their_bytes() -> None:
    samples = toy_benchmark(TIL).train[0].samples
    memory = Memory([by_value(samples[0])])
    before = memory[0].inputs[IMAGE].clone()
    samples.values[IMAGE].zero_()  # type: ignore[attr-defined]
    kept = memory.records[0]["inputs"][IMAGE]
    assert torch.equal(memory[0].inputs[IMAGE], before)
    assert kept.untyped_storage().nbytes() == kept.nbytes


def test_references_hold_no_data_and_find_the_sample_again_after_a_restart() -> None:
    stream = {experience.index: experience.samples for experience in toy_benchmark(TIL).train}
    memory = restored(Memory([by_reference(2, 5), by_reference(0, 3)], stream))
    assert same(memory[0], stream[2][5])
    assert same(memory[1], stream[0][3])
    assert memory.nbytes() == 32


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "CMYK", "YCbCr", "F"])
def test_images_of_every_mode_come_back_bit_for_bit(mode: str) -> None:
    noise = torch.randint(256, (5, 7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    image = Image.fromarray(noise).convert("L" if mode == "I;16" else "RGB").convert(mode)
    again = restored(Memory([by_value(Sample({IMAGE: image}, 0, "x", 0))]))[0].inputs[IMAGE]
    assert again.mode == mode
    assert again.tobytes() == image.tobytes()
    assert again.convert("RGB").tobytes() == image.convert("RGB").tobytes()


@given(st.lists(st.tuples(st.integers(0, 20), st.text(max_size=9)), max_size=6))
def test_the_weight_is_that_of_all_values(contents: list[tuple[int, str]]) -> None:
    records = [by_value(Sample({"sensor": torch.zeros(n), TEXT: text}, 0, "x", 0)) for n, text in contents]
    assert nbytes(records) == Memory(records).nbytes()
    assert nbytes(records) == sum(4 * n + len(text.encode()) + 8 for n, text in contents)


def test_a_picture_weighs_its_compressed_bytes() -> None:
    record = by_value(Sample({IMAGE: Image.new("RGB", (64, 64))}, 0, "x", 0))
    assert nbytes([record]) == record["inputs"][IMAGE]["file"].numel() + 8 < 64 * 64


NUMBERS = (
    hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes(endianness="?")
)


@given(hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
def test_arrays_of_every_type_and_layout_come_back_bit_for_bit(window: NDArray[Any], turned: bool) -> None:
    given_ = window.T if turned else window
    memory = Memory([by_value(Sample({"sensor": given_}, 0, "x", 0))])
    again = restored(memory)[0].inputs["sensor"]
    assert (again.dtype, again.shape, again.tobytes()) == (given_.dtype, given_.shape, given_.tobytes())
    assert memory.nbytes() == window.nbytes + 8


def test_an_array_is_a_copy_and_may_be_written_to() -> None:
    window = np.zeros(3)
    memory = Memory([by_value(Sample({"sensor": window}, 0, "x", 0))])
    window += 1
    memory[0].inputs["sensor"][:] = 2
    assert memory[0].inputs["sensor"].tolist() == [0, 0, 0]


def test_lists_of_frames_and_of_numbers_come_back() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    memory = Memory([by_value(Sample({"video": frames, "sensor": ((1.5, 2), [3])}, 0, "x", 0))])
    again = restored(memory)[0].inputs
    assert [frame.getpixel((0, 0)) for frame in again["video"]] == [(255, 0, 0), (0, 0, 255)]
    assert again["sensor"] == [[1.5, 2], [3]]
    assert memory.nbytes() == sum(by["file"].numel() for by in memory.records[0]["inputs"]["video"]) + 3 * 8 + 8


@pytest.mark.parametrize(
    ("value", "kind"), [(np.array([None]), "ndarray of object"), ({"x": 1}, "dict"), ([object()], "object")]
)
def test_a_value_that_a_checkpoint_could_not_hold_is_refused_when_it_enters(value: object, kind: str) -> None:
    with pytest.raises(DataError, match=rf"modality 'sensor'.*type {kind}"):
        by_value(Sample({"sensor": value}, 0, "x", 0))


def test_a_slot_is_overwritten_and_the_one_behind_the_last_appended() -> None:
    samples, memory = toy_benchmark(TIL).train[0].samples, Memory()
    memory.put(0, samples[0])
    memory.put(1, samples[1])
    memory.put(0, samples[2])
    assert [memory[slot].sample_id for slot in range(len(memory))] == ["0/2", "0/1"]
