"""A layer is fused along the singular directions of its old weights: large changes in full, small ones in part."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.parameter_efficient.singular_fusion import singularly_fused
from torch import Tensor


def layers(width: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    old = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return old, old + 0.3 * torch.randn(width, width, generator=generator, dtype=torch.float64)


@given(st.integers(1, 7), st.integers(0, 50))
def test_with_a_bias_of_one_the_new_weights_are_taken(width: int, seed: int) -> None:
    old, new = layers(width, seed)
    torch.testing.assert_close(singularly_fused(old, new, 1.0), new)


@given(st.integers(1, 7), st.integers(0, 50), st.sampled_from([0.0, 0.3, 0.6]))
def test_each_change_along_an_old_direction_is_taken_by_its_own_size(width: int, seed: int, mix_bias: float) -> None:
    old, new = layers(width, seed)
    left = torch.linalg.eigh(old @ old.T).eigenvectors  # the left singular vectors, found another way
    changed, taken = left.T @ (new - old), left.T @ (singularly_fused(old, new, mix_bias) - old)
    largest = changed.abs().max()
    for before, after in zip(changed.flatten().tolist(), taken.flatten().tolist(), strict=True):
        assert after == pytest.approx(min(abs(before) / float(largest) + mix_bias, 1) * before, abs=1e-9)
    where = changed.abs().argmax()
    assert float(taken.flatten()[where]) == pytest.approx(float(changed.flatten()[where]))


def test_it_is_no_average_of_the_weights() -> None:
    old, new = layers(5, 0)
    shares = (singularly_fused(old, new, 0.2) - old) / (new - old)
    assert float(shares.max() - shares.min()) > 0.1


def test_where_nothing_has_changed_the_weights_stay() -> None:
    old, _ = layers(4, 0)
    for mix_bias in (0.0, 0.6, 1.0):
        assert torch.equal(singularly_fused(old, old.clone(), mix_bias), old)


def test_single_precision_loses_no_digits_on_the_way() -> None:
    old, new = (weights.float() for weights in layers(6, 1))
    found = singularly_fused(old, new, 0.6)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, singularly_fused(old.double(), new.double(), 0.6).float(), rtol=0, atol=0)
