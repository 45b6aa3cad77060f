"""Per-sample gradients from one backward pass, for parameters whose rows belong one-to-one to samples.

Where a module handles every sample in rows of its own, the gradient of ``sum_n log p_n`` with respect to those rows is
the gradient of ``log p_n``. Together with the rows the module read, this gives the gradient of every sample without a
backward pass per sample: for a linear layer ``g_n = sum_l delta_nl a_nl^T``, summed over the tokens l of a sample.

These rules are proposals. ``fisher`` accepts one only after comparing a randomly weighted sum of its per-sample
gradients with automatic differentiation, so a shared row, a batch statistic or another row order cannot slip through.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmcl_strategies.maths.fisher.attention import attend, self_attention

CHUNK_ELEMENTS = {"cpu": 2**16}  # entries of per-sample gradients formed at a time: what a processor's cache holds
CHUNK_ELEMENTS_ELSEWHERE = 2**24  # an accelerator wants large products


@runtime_checkable
class PerSample(Protocol):
    """The gradients of one parameter for all samples of a batch, in some factored form."""

    def weighted_sum(self, weights: Float[Tensor, " B"]) -> Float[Tensor, "..."]:
        """``sum_n w_n g_n``, shaped like the parameter."""

    def sum_of_squares(self) -> Float[Tensor, "..."]:
        """``sum_n g_n^2``, shaped like the parameter."""


@dataclass(frozen=True)
class Dense:
    """Gradients shaped like the parameter, one per sample."""

    gradients: Float[Tensor, "B ..."]

    def weighted_sum(self, weights: Float[Tensor, " B"]) -> Float[Tensor, "..."]:
        """A sum of the gradients that are there."""
        return (weights @ self.gradients.flatten(1)).reshape(self.gradients.shape[1:])

    def sum_of_squares(self) -> Float[Tensor, "..."]:
        """A sum of the squared gradients that are there."""
        return self.gradients.square().sum(0)


@dataclass(frozen=True)
class Outer:
    """``g_n = sum_l left_nl right_nl^T`` over the tokens l of a sample."""

    left: Float[Tensor, "B L out"]
    right: Float[Tensor, "B L in"]
    shape: Sequence[int]

    def weighted_sum(self, weights: Float[Tensor, " B"]) -> Float[Tensor, "..."]:
        """One product of matrices: the weights scale the rows of one factor."""
        left = self.left * weights[:, None, None]
        return (left.flatten(0, 1).T @ self.right.flatten(0, 1)).reshape(self.shape)

    def sum_of_squares(self) -> Float[Tensor, "..."]:
        """One product of matrices: the square of an outer product is that of squares."""
        if self.left.shape[1] == 1:
            return (self.left[:, 0].square().T @ self.right[:, 0].square()).reshape(self.shape)
        total = self.left.new_zeros(self.left.shape[2], self.right.shape[2])
        entries = CHUNK_ELEMENTS.get(self.left.device.type, CHUNK_ELEMENTS_ELSEWHERE)
        rows = max(1, entries // max(total.numel(), 1))
        for left, right in zip(torch.split(self.left, rows), torch.split(self.right, rows), strict=True):
            if rows == 1:
                gradient = left[0].T @ right[0]
                total.addcmul_(gradient, gradient)
            else:
                total += torch.bmm(left.transpose(1, 2), right).square().sum(0)
        return total.reshape(self.shape)


@dataclass(frozen=True)
class Rows:
    """Rows ``indices`` of a table ``shape`` received ``gradients``; repeats add up."""

    indices: Int[Tensor, "B L"]
    gradients: Float[Tensor, "B L width"]
    shape: Sequence[int]

    def weighted_sum(self, weights: Float[Tensor, " B"]) -> Float[Tensor, "..."]:
        """A sum over the rows that a sample has."""
        weighted = (self.gradients * weights[:, None, None]).flatten(0, 1)
        return weighted.new_zeros(self.shape).index_add_(0, self.indices.flatten(), weighted)

    def sum_of_squares(self) -> Float[Tensor, "..."]:
        """Rows of one sample are joined before they are squared."""
        samples = torch.arange(len(self.indices), device=self.indices.device)[:, None]
        keys, inverse = torch.unique(samples * self.shape[0] + self.indices, return_inverse=True)
        summed = self.gradients.new_zeros(len(keys), self.shape[1])
        summed.index_add_(0, inverse.flatten(), self.gradients.flatten(0, 1))
        return summed.new_zeros(self.shape).index_add_(0, keys % self.shape[0], summed.square())


@dataclass(frozen=True)
class Call:
    """One forward call of a module: what it read, and the tensor it wrote."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    output: Tensor
    versions: tuple[int, int]

    @property
    def read(self) -> Tensor:
        """What the layer reads: its first argument."""
        return cast(Tensor, self.arguments[0])

    @property
    def untouched(self) -> bool:
        """Whether nobody wrote into input or output since, as an in-place activation would."""
        return self.versions == (self.read._version, self.output._version)


Delta = Float[Tensor, "rows ..."]  # of the output of a call
Rule = Callable[[Any, Call, Delta, int], dict[str, PerSample]]


def linear_rule(module: nn.Linear, call: Call, delta: Delta, samples: int) -> dict[str, PerSample]:
    """``delta`` is the gradient of the output; likewise in the other rules."""
    left = _tokens(delta, samples)
    return {"weight": Outer(left, _tokens(call.read, samples), module.weight.shape), "bias": Dense(left.sum(1))}


def convolution_rule(module: nn.Conv2d, call: Call, delta: Delta, samples: int) -> dict[str, PerSample]:
    """A convolution is a linear layer on unfolded patches."""
    left = _tokens(delta.flatten(2).transpose(1, 2), samples)
    rules: dict[str, PerSample] = {"bias": Dense(left.sum(1))}
    if module.groups == 1 and not isinstance(module.padding, str) and module.padding_mode == "zeros":
        patches = functional.unfold(
            call.read, module.kernel_size, module.dilation, cast(tuple[int, int], module.padding), module.stride
        )
        rules["weight"] = Outer(left, _tokens(patches.transpose(1, 2), samples), module.weight.shape)
    return rules


def layer_norm_rule(module: nn.LayerNorm, call: Call, delta: Delta, samples: int) -> dict[str, PerSample]:
    """The scale multiplies the standardised input, the shift is added."""
    standardised = functional.layer_norm(call.read, module.normalized_shape, eps=module.eps)
    grouped = (samples, -1, *module.normalized_shape)
    return {
        "weight": Dense((delta * standardised).reshape(grouped).sum(1)),
        "bias": Dense(delta.reshape(grouped).sum(1)),
    }


def embedding_rule(module: nn.Embedding, call: Call, delta: Delta, samples: int) -> dict[str, PerSample]:
    """Rows of the table collect the gradients of their occurrences."""
    if module.padding_idx is not None or module.max_norm is not None or module.scale_grad_by_freq:
        return {}
    return {"weight": Rows(call.read.reshape(samples, -1), _tokens(delta, samples), module.weight.shape)}


def attention_rule(module: nn.MultiheadAttention, call: Call, delta: Delta, samples: int) -> dict[str, PerSample]:
    """Self-attention: its inner part is computed again to reach the gradient of the packed projection's output."""
    plain = self_attention(module, call.arguments, call.options)
    if plain is None:
        return {}
    query, mask = plain
    with torch.enable_grad():
        packed = functional.linear(query, module.in_proj_weight, module.in_proj_bias).detach().requires_grad_()
        attended = attend(module, packed, mask)
        output = functional.linear(attended, module.out_proj.weight.detach())
    (inner,) = torch.autograd.grad(output, packed, delta)
    left, outer = _tokens(inner, samples), _tokens(delta, samples)
    return {
        "in_proj_weight": Outer(left, _tokens(query, samples), module.in_proj_weight.shape),
        "in_proj_bias": Dense(left.sum(1)),
        "out_proj.weight": Outer(outer, _tokens(attended.detach(), samples), module.out_proj.weight.shape),
        "out_proj.bias": Dense(outer.sum(1)),
    }


RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: linear_rule,
    nn.Conv2d: convolution_rule,
    nn.LayerNorm: layer_norm_rule,
    nn.Embedding: embedding_rule,
    nn.MultiheadAttention: attention_rule,
}


def rule_for(module: nn.Module) -> Rule | None:
    """The rule of a module's type, if there is one."""
    return next((rule for kind, rule in RULES.items() if isinstance(module, kind)), None)


def _tokens(rows: Tensor, samples: int) -> Tensor:
    """``[rows, ..., width]`` -> ``[samples, tokens, width]``, detached."""
    return rows.detach().reshape(samples, -1, rows.shape[-1])
