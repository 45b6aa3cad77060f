"""Pinning: a batch in page-locked memory is still a batch, and only a learner on CUDA asks for it."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from mmcl.data.loader import Loader
from mmcl.data.sample import Batch, Inputs
from mmcl.streams.scenario import MDTIL
from mmcl.testing.toy import toy_benchmark, toy_learner

ON_CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What has been pinned, by a stand-in that leaves tensors where they are."""
    noted: list[Tensor] = []

    def pin(tensor: Tensor, *_: object) -> Tensor:
        noted.append(tensor)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    return noted


def mixed_batches(device: str) -> Loader:
    """Batches with images and texts of which some are missing."""
    benchmark = toy_benchmark(MDTIL)
    learner = toy_learner(benchmark, device=device)
    learner.begin(benchmark.train[2])
    return learner.batches(benchmark.train[2].samples, 3)


def pinning(loader: Loader) -> Iterator[Batch]:
    """The loader's batches, pinned although there may be no CUDA device."""
    fetched = iter(loader.loader)
    fetched._pin_memory, fetched._pin_memory_device = True, None
    return (parcel.batch for parcel in fetched)


def tensors(batch: Batch) -> list[Tensor]:
    inputs = batch.inputs
    assert inputs.task_ids is not None
    return [*inputs.values(), *inputs.present.values(), inputs.task_ids, batch.targets, batch.task_ids]


def test_a_pinned_batch_is_the_same_batch(pinned: list[Tensor]) -> None:
    plain, forced = list(mixed_batches("cpu")), list(pinning(mixed_batches("cpu")))
    assert len(plain) == len(forced) == 3
    for batch, other in zip(plain, forced, strict=True):
        assert isinstance(other, Batch)
        assert isinstance(other.inputs, Inputs)
        assert other.inputs.sample_ids == batch.inputs.sample_ids
        assert list(other.inputs.present) == list(batch.inputs.present) == ["image", "text"]
        assert all(map(torch.equal, tensors(batch), tensors(other)))
    assert {id(tensor) for tensor in pinned} >= {id(tensor) for batch in forced for tensor in tensors(batch)}


def test_hidden_task_ids_stay_hidden_when_a_batch_is_pinned(pinned: list[Tensor]) -> None:
    batch = next(iter(mixed_batches("cpu")))
    hidden = batch._replace(inputs=batch.inputs.with_task_ids(None))
    assert hidden.pin_memory().inputs.task_ids is None
    assert pinned


@pytest.mark.parametrize(("device", "pins"), [("cpu", False), pytest.param("cuda", True, marks=ON_CUDA.marks)])
def test_batches_are_pinned_for_a_learner_on_cuda_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, pins: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert mixed_batches(device).loader.pin_memory is pins


def test_a_learner_that_is_told_to_be_on_cuda_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = toy_benchmark(MDTIL)
    learner = toy_learner(benchmark, device="cpu")
    learner.device = torch.device("cuda")
    assert learner.batches(benchmark.train[0].samples, 1).loader.pin_memory
    assert learner.batches_in(benchmark.train[0].samples, [[0]], name="x").loader.pin_memory
    assert learner._ordered(benchmark.train[0].samples, 4).loader.pin_memory


@pytest.mark.parametrize("device", [ON_CUDA])
def test_tensors_are_pinned_and_moved_for_real(device: str) -> None:
    for batch in mixed_batches(device):
        assert isinstance(batch.inputs, Inputs)
        assert all(tensor.is_pinned() for tensor in tensors(batch))
        assert {tensor.device.type for tensor in tensors(batch.to(device, non_blocking=True))} == {"cuda"}


def test_torch_pins_what_it_fetches_by_its_own_method(pinned: list[Tensor]) -> None:
    parcel = next(iter(mixed_batches("cpu").loader))
    assert isinstance(pin_memory(parcel).batch.inputs, Inputs)
    assert len(pinned) == len(tensors(parcel.batch))
