"""Skipping rows without gradient changes neither outputs nor gradients."""

from collections.abc import Callable

import pytest
import torch
from mmcl_strategies.maths.fisher.zero_rows import skipping_zero_rows
from torch import Tensor, nn


class Pooled(nn.Module):
    """A causal block read at one token: most rows get exact zeros."""

    def __init__(self, mask: Tensor | None = None, need_weights: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.wide, self.act, self.narrow = nn.Linear(8, 16), nn.GELU("tanh"), nn.Linear(16, 8, bias=False)
        self.mask, self.need_weights = mask, need_weights
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        attended, _ = self.attention(x, x, x, attn_mask=self.mask, need_weights=self.need_weights)
        x = x + attended
        return (x + self.narrow(self.act(self.wide(x))))[:, 2]


CAUSAL = torch.ones(6, 6, dtype=torch.bool).triu(1)
MASKS = {
    "none": None,
    "boolean": CAUSAL,
    "additive": torch.zeros(6, 6, dtype=torch.float64).masked_fill(CAUSAL, -torch.inf),
}


def data() -> Tensor:
    return torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    output = model(x)
    return [output, *torch.autograd.grad(output, [x, *model.parameters()], torch.ones_like(output))]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("need_weights", [False, True])
def test_outputs_and_gradients_are_those_of_the_plain_layers(mask: Tensor | None, need_weights: bool) -> None:
    model, x = Pooled(mask, need_weights), data().requires_grad_()
    plain = gradients(model, x)
    with skipping_zero_rows([model]):
        skipping = gradients(model, x)
    for found, expected in zip(skipping, plain, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("reached", [[], [1], [0, 2]], ids=str)
def test_samples_without_gradient_get_zeros_and_the_others_what_is_theirs(
    mask: Tensor | None, reached: list[int]
) -> None:
    model, x = Pooled(mask), data().requires_grad_()
    direction = torch.zeros(3, 8, dtype=torch.float64)
    direction[reached] = 1.0
    plain = torch.autograd.grad(model(x), [x, *model.parameters()], direction)
    with skipping_zero_rows([model]):
        output = model(x)
    for found, expected in zip(torch.autograd.grad(output, [x, *model.parameters()], direction), plain, strict=True):
        torch.testing.assert_close(found, expected)


def products(build: Callable[[], Tensor]) -> int:
    """Rows of all matrix products of a backward pass."""
    output, rows = build(), 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        output.sum().backward()
    for event in profile.key_averages(group_by_input_shape=True):
        if event.key == "aten::mm":
            rows += event.count * max(event.input_shapes[0][0], event.input_shapes[0][1])
    return rows


def test_fewer_rows_are_multiplied() -> None:
    model, x = Pooled(CAUSAL), torch.randn(40, 6, 8, dtype=torch.float64)

    def skipping() -> Tensor:
        with skipping_zero_rows([model]):
            return model(x)

    assert products(skipping) < 0.5 * products(lambda: model(x))


def test_a_layer_that_others_observe_stays_as_it_is() -> None:
    model, x = Pooled(), data()
    model.wide.register_forward_hook(lambda layer, arguments, output: output + 1)
    plain = model(x)
    with skipping_zero_rows([model]):
        torch.testing.assert_close(model(x), plain)
        assert len(model.wide._forward_hooks) == 1


def test_nothing_is_left_behind() -> None:
    model = Pooled()

    def fail() -> None:
        with skipping_zero_rows([model]):
            assert any(layer._forward_hooks for layer in model.modules())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any(layer._forward_hooks for layer in model.modules())
