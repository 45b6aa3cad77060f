"""Averages and interpolations of weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.maths.averaging import (
    add_consolidation_gradient,
    anchored_running_mean,
    interpolate,
    interpolate_by_fisher,
    running_mean,
    weight_consolidation,
)
from torch import Tensor

from mmcl.errors import PluginError

seeds = st.integers(0, 2**31 - 1)


def model(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


SHAPES = {"weight": (3, 2), "scale": ()}


@given(seeds, st.integers(1, 8))
@settings(deadline=None, max_examples=20)
def test_running_mean_is_the_plain_mean_of_all_models(seed: int, count: int) -> None:
    models = [model(seed + k) for k in range(count + 1)]
    average = models[0]
    for k, weights in enumerate(models[1:], start=1):
        average = running_mean(average, weights, k)
    for name in SHAPES:
        torch.testing.assert_close(average[name], torch.stack([weights[name] for weights in models]).mean(0))


def test_running_mean_leaves_its_arguments_alone() -> None:
    average, weights = model(0), model(1)
    copies = [{name: tensor.clone() for name, tensor in named.items()} for named in (average, weights)]
    running_mean(average, weights, 3)
    torch.testing.assert_close([average, weights], copies)


def test_running_mean_stays_in_the_precision_of_the_average() -> None:
    average = {"w": torch.zeros(2, dtype=torch.float32)}
    assert running_mean(average, {"w": torch.ones(2, dtype=torch.bfloat16)}, 1)["w"].dtype == torch.float32


@given(seeds, st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=20)
def test_anchor_pulls_at_every_update(seed: int, alpha: float) -> None:
    average, weights, anchor = model(seed), model(seed + 1), model(seed + 2)
    pulled = anchored_running_mean(average, weights, anchor, 2, alpha)
    for name in SHAPES:
        mean = (2 * average[name] + weights[name]) / 3
        torch.testing.assert_close(pulled[name], alpha * mean + (1 - alpha) * anchor[name])


def test_interpolation_returns_its_end_points() -> None:
    start, end = model(0), model(1)
    torch.testing.assert_close(interpolate(start, end, 0.0), start, rtol=0, atol=0)
    torch.testing.assert_close(interpolate(start, end, 1.0), end, rtol=0, atol=0)


@given(seeds, st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=20)
def test_equal_fisher_gives_plain_interpolation(seed: int, alpha: float) -> None:
    start, end = model(seed), model(seed + 1)
    fisher = {name: tensor.square() + 0.1 for name, tensor in model(seed + 2).items()}
    torch.testing.assert_close(interpolate_by_fisher(start, end, fisher, fisher, alpha), interpolate(start, end, alpha))


def test_entries_without_a_start_come_from_the_end() -> None:
    start = {"w": torch.zeros(2), "steps": torch.tensor(3)}
    end = {"w": torch.ones(4), "steps": torch.tensor(5), "new": torch.ones(1)}
    merged = interpolate(start, end, 0.25)
    torch.testing.assert_close(merged["w"], torch.tensor([0.25, 0.25, 1.0, 1.0]))
    assert int(merged["steps"]) == 5
    assert float(merged["new"]) == 1.0


@given(seeds, st.floats(0.0, 10.0))
@settings(deadline=None, max_examples=20)
def test_consolidation_gradient_equals_autograd(seed: int, weight: float) -> None:
    parameters = {name: tensor.requires_grad_() for name, tensor in model(seed).items()}
    anchor = model(seed + 1)
    loss = weight * weight_consolidation(parameters, anchor)
    expected = torch.autograd.grad(loss, list(parameters.values()))
    add_consolidation_gradient(parameters, anchor, weight)
    torch.testing.assert_close([parameter.grad for parameter in parameters.values()], list(expected))


def test_consolidation_is_a_plain_sum() -> None:
    assert float(weight_consolidation({"w": torch.tensor([1.0, 3.0])}, {"w": torch.zeros(2)})) == 10.0
    assert float(weight_consolidation({"w": torch.ones(2)}, {})) == 0.0


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(PluginError, match="'scale'"):
        running_mean(model(0), {"weight": torch.zeros(3, 2)}, 1)
    with pytest.raises(PluginError, match="'scale'"):
        weight_consolidation({"weight": torch.zeros(3, 2)}, model(0))
