"""Gates: sharpening inside every epoch, one normaliser over all layers, a weight is free if one of its ends is."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.architecture.hard_attention import (
    annealed,
    annealed_by_offset,
    bias_factor,
    binary,
    compensation,
    gate,
    sparsity,
    stretch,
    weight_factor,
)
from torch import Tensor


def test_sharpness_goes_from_the_inverse_to_the_largest() -> None:
    values = [annealed(batch, 5, 400.0) for batch in range(5)]
    assert values[0] == 1 / 400
    assert values[-1] == 400.0
    steps = [later - earlier for earlier, later in pairwise(values)]
    assert all(math.isclose(step, steps[0]) for step in steps)


def test_an_epoch_of_one_batch_is_sharp() -> None:
    assert annealed(0, 1, 400.0) == 400.0


def test_the_released_schedule_never_reaches_the_largest() -> None:
    values = [annealed_by_offset(offset, 20, 400.0) for offset in range(0, 20, 5)]
    assert values[0] == 1 / 400
    assert values[-1] < 400 * 0.76


@given(epochs=st.integers(1, 6), epoch=st.integers(1, 9))
def test_whole_epochs_are_the_stretches(epochs: int, epoch: int) -> None:
    found = [stretch(step, epochs * epoch, epoch) for step in range(epochs * epoch)]
    assert found == [(batch, epoch) for _ in range(epochs) for batch in range(epoch)]


@given(steps=st.integers(1, 60), epoch=st.integers(1, 20))
def test_any_number_of_steps_ends_with_the_last_batch_of_a_stretch(steps: int, epoch: int) -> None:
    found = [stretch(step, steps, epoch) for step in range(steps)]
    begins = [step for step, (batch, _) in enumerate(found) if batch == 0]
    assert len(begins) == max(1, round(steps / epoch))
    lengths = [end - begin for begin, end in zip(begins, [*begins[1:], steps], strict=True)]
    assert max(lengths) - min(lengths) <= 1
    for begin, length in zip(begins, lengths, strict=True):
        assert found[begin : begin + length] == [(batch, length) for batch in range(length)]


def test_the_regulariser_is_the_mean_gate_while_everything_is_free() -> None:
    gates = [torch.tensor([0.2, 0.4]), torch.tensor([0.6, 0.8, 1.0, 0.0])]
    found = sparsity(gates, [torch.zeros(2), torch.zeros(4)])
    torch.testing.assert_close(found, torch.cat(gates).mean())


def test_the_regulariser_has_one_normaliser_over_the_free_units_of_all_layers() -> None:
    gates = [torch.tensor([1.0, 0.5]), torch.tensor([0.25, 0.75])]
    used = [torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0])]
    expected = (0.5 + 0.25 * 0.5 + 0.75) / (1 + 0.5 + 1)
    torch.testing.assert_close(sparsity(gates, used), torch.tensor(expected))
    per_layer = (0.5 / 1 + (0.25 * 0.5 + 0.75) / 1.5) / 2
    assert not math.isclose(expected, per_layer, rel_tol=1e-2)


def test_without_a_free_unit_the_regulariser_is_zero_with_a_finite_gradient() -> None:
    embedding = torch.randn(3, requires_grad=True)
    value = sparsity([embedding.sigmoid()], [torch.ones(3)])
    value.backward()
    assert value == 0
    assert torch.equal(embedding.grad, torch.zeros(3))  # type: ignore[arg-type]


def test_no_gradient_reaches_earlier_experiences() -> None:
    used = torch.rand(3, requires_grad=True)
    assert not sparsity([torch.rand(3)], [used]).requires_grad


@given(s=st.floats(0.01, 8), e=st.floats(-1.5, 1.5))
def test_compensation_turns_the_slope_at_one_sharpness_into_that_at_one(s: float, e: float) -> None:
    s_max = 400.0
    embedding = torch.tensor(e, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((s * embedding).sigmoid(), embedding)
    (plain,) = torch.autograd.grad(embedding.sigmoid(), embedding)
    torch.testing.assert_close(slope * compensation(embedding.detach(), s, s_max), s_max * plain, rtol=1e-7, atol=0.0)


SHARPNESSES = (1 / 400, 0.1, 1.0, 7.3, 57.0, 399.9, 400.0)


def sharpened(s: float) -> Tensor:
    """Embeddings with ``|s e|`` up to 50, the largest 6, both signs, as single precision has them."""
    largest = min(50.0, 6.0 * s)
    return torch.linspace(-largest, largest, 401, dtype=torch.float64).div(s).float()


def slope(s: float, embedding: Tensor) -> Tensor:
    """``s a (1 - a)`` in double precision, each factor in the form that keeps its digits."""
    x = s * embedding.double().abs()
    return s * (-x).exp() / (1 + (-x).exp()).square()


@pytest.mark.parametrize("s", SHARPNESSES)
def test_the_slope_of_a_gate_has_its_digits_in_single_precision(s: float) -> None:
    embedding = sharpened(s).requires_grad_()
    for factor in (1.0, -1.0):  # of the gate, and of what it leaves
        (found,) = torch.autograd.grad((factor * gate(embedding, s)).sum(), embedding)
        torch.testing.assert_close(found.double(), factor * slope(s, embedding.detach()), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(gate(embedding, s).double(), (s * embedding.double()).sigmoid(), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("s", SHARPNESSES)
def test_the_compensated_gradient_has_its_digits_in_single_precision(s: float) -> None:
    embedding = sharpened(s).requires_grad_()
    (found,) = torch.autograd.grad((3.0 * gate(embedding, s)).sum(), embedding)
    found = found * compensation(embedding.detach(), s, 400.0)
    expected = 3.0 * 400.0 * slope(1.0, embedding.detach())
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("value", [-2400.0, -104.0, 104.0, 2400.0])
def test_far_gates_are_shut_or_open_with_a_finite_slope(value: float) -> None:
    embedding = torch.tensor(value / 400, requires_grad=True)
    found = gate(embedding, 400.0)
    found.backward()  # type: ignore[no-untyped-call]
    assert found.item() == float(value > 0)
    assert embedding.grad is not None
    assert float(embedding.grad) == 0.0


def test_compensation_is_bounded() -> None:
    assert compensation(torch.tensor(6.0), 400.0, 400.0).isfinite()
    assert compensation(torch.tensor(6.0), 400.0, 400.0, limit=1.0) < 1


def test_a_weight_is_as_free_as_the_freer_of_its_ends() -> None:
    after, before = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.25, 1.0])
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.75, 0.0]])
    assert torch.equal(weight_factor(torch.Size([2, 3]), after, before), expected)


def test_an_input_without_a_gate_counts_as_needed_by_all() -> None:
    after = torch.tensor([0.0, 0.5])
    factor = weight_factor(torch.Size([2, 3]), after, None)
    assert torch.equal(factor, (1 - after).unsqueeze(1).expand(2, 3))
    assert torch.equal(weight_factor(torch.Size([3, 2]), None, after), (1 - after).expand(3, 2))


def test_without_any_gate_everything_is_protected() -> None:
    assert torch.equal(weight_factor(torch.Size([2, 3]), None, None), torch.zeros(2, 3))
    assert torch.equal(bias_factor(torch.Size([2]), None), torch.zeros(2))


def test_a_kernel_is_protected_as_a_whole() -> None:
    factor = weight_factor(torch.Size([2, 1, 3, 3]), torch.tensor([0.0, 1.0]), torch.tensor([1.0]))
    assert torch.equal(factor[0], torch.ones(1, 3, 3))
    assert torch.equal(factor[1], torch.zeros(1, 3, 3))


def test_a_flattened_channel_protects_all_its_positions() -> None:
    before = torch.tensor([1.0, 0.0])
    factor = weight_factor(torch.Size([1, 8]), torch.ones(1), before)
    channels = torch.arange(8).reshape(1, 2, 2, 2).flatten(1).squeeze(0) // 4  # as torch flattens [B, C, H, W]
    assert torch.equal(factor.squeeze(0), 1 - before[channels])


@pytest.mark.parametrize(("gate", "expected"), [(0.0, 0.0), (0.5, 0.0), (0.51, 1.0), (1.0, 1.0)])
def test_gates_above_one_half_are_open(gate: float, expected: float) -> None:
    assert binary(torch.tensor([gate])).item() == expected
