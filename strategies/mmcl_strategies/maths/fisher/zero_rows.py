"""Layers whose backward pass leaves out the rows without gradient.

Behind a pooled token most rows of a text tower receive exact zeros: everything after the end of the text, and in the
last block all but the pooled token. A text of ten tokens in a context of 77 thus needs a small part of the products.
A text that receives nothing at all needs neither attention nor activation.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl_strategies.maths.fisher.attention import attend, self_attention

_DENSE = 0.8  # with more rows than this share, choosing them costs more than it saves


@contextmanager
def skipping_zero_rows(modules: Iterable[nn.Module]) -> Iterator[None]:
    """While the context lasts, graphs of linear, GELU and self-attention layers below ``modules`` skip rows of zeros.

    Outputs and gradients are those of the layers themselves, up to rounding. Layers that others observe with forward
    hooks, and attention that is not plain, stay as they are.
    """
    layers = {id(layer): layer for module in modules for layer in module.modules() if not layer._forward_hooks}
    with ExitStack() as hooks:
        for layer in layers.values():
            if type(layer) is nn.Linear:
                hooks.callback(layer.register_forward_hook(_linear).remove)
            elif type(layer) is nn.GELU:
                hooks.callback(layer.register_forward_hook(_activation).remove)
            elif type(layer) is nn.MultiheadAttention:
                hooks.callback(layer.register_forward_hook(_attention, with_kwargs=True).remove)
        yield


def _linear(layer: nn.Linear, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _apply(arguments[0], layer.weight, layer.bias) if arguments and output.requires_grad else output


def _activation(layer: nn.GELU, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _sample_by_sample(partial(functional.gelu, approximate=layer.approximate), arguments[0])


def _attention(layer: nn.MultiheadAttention, arguments: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
    plain = self_attention(layer, arguments, options) if output[1] is None and output[0].requires_grad else None
    if plain is None:
        return output
    query, mask = plain
    packed = _apply(query, layer.in_proj_weight, layer.in_proj_bias)
    attended = _sample_by_sample(partial(attend, layer, mask=mask), packed)
    return _apply(attended, layer.out_proj.weight, layer.out_proj.bias), None


def _apply(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = _SkippingLinear.apply(rows, weight, bias)
    return result


def _sample_by_sample(function: Callable[[Tensor], Tensor], read: Tensor) -> Tensor:
    """``function(read)`` of a function without parameters that handles every entry of the first dimension alone."""
    result: Tensor = _SkippingSamples.apply(function, read)
    return result


class _SkippingLinear(torch.autograd.Function):
    """``functional.linear`` with another backward pass."""

    @staticmethod
    def forward(context: Any, read: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The value of ``functional.linear``; the backward pass skips rows without a gradient."""
        context.save_for_backward(read, weight)
        return functional.linear(read, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, delta: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Products over the rows of ``delta`` that are not zero."""
        read, weight = context.saved_tensors
        rows = delta.reshape(-1, delta.shape[-1])
        used = rows.abs().amax(1).nonzero()[:, 0]
        chosen = slice(None) if len(used) > _DENSE * len(rows) else used
        rows = rows[chosen]
        to_read = to_weight = None
        if context.needs_input_grad[0]:
            to_read = read.new_zeros(delta.numel() // delta.shape[-1], read.shape[-1])
            to_read[chosen] = rows @ weight
            to_read = to_read.reshape(read.shape)
        if context.needs_input_grad[1]:
            to_weight = rows.T @ read.reshape(-1, read.shape[-1])[chosen]
        return to_read, to_weight, rows.sum(0) if context.needs_input_grad[2] else None


class _SkippingSamples(torch.autograd.Function):
    """Another backward pass for functions of one sample each: run again for the samples that receive a gradient."""

    @staticmethod
    def forward(context: Any, function: Callable[[Tensor], Tensor], read: Tensor) -> Tensor:
        """The value of the function itself; the backward pass skips samples without a gradient."""
        context.function = function
        context.save_for_backward(read)
        return function(read)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, delta: Tensor) -> tuple[None, Tensor]:
        """Through the samples of ``delta`` that are not zero."""
        (read,) = context.saved_tensors
        used = delta.flatten(1).abs().amax(1).nonzero()[:, 0]
        with torch.enable_grad():
            part = read[used].requires_grad_()
            (gradient,) = torch.autograd.grad(context.function(part), part, delta[used])
        return None, torch.zeros_like(read).index_copy_(0, used, gradient)
