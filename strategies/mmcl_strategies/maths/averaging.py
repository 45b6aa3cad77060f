"""Weights between weights: running averages, interpolation and the pull to an anchor, keyed by parameter name."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mmcl_strategies.maths.growth import corner, matching, require_names
from mmcl_strategies.maths.quadratic import add_quadratic_gradient

Named = Mapping[str, Tensor]


@torch.no_grad()
def running_mean(average: Named, weights: Named, count: int) -> dict[str, Tensor]:
    """``(count * average + weights) / (count + 1)``: one more model in a plain mean (ZSCL weight ensemble).

    Args:
        average: mean of ``count`` models; the mean starts as the model before training, with ``count = 1``.
        weights: the model to add, same names and shapes.
        count: how many models ``average`` stands for.
    """
    require_names(average, weights)
    return {name: mean.lerp(weights[name].to(mean), 1 / (count + 1)) for name, mean in average.items()}


@torch.no_grad()
def anchored_running_mean(average: Named, weights: Named, anchor: Named, count: int, alpha: float) -> dict[str, Tensor]:
    """``alpha * running_mean + (1 - alpha) * anchor``: the average is pulled to the anchor at every update (WE + WiSE).

    Arguments as in ``running_mean``; ``anchor`` is the model at the start of the experience.
    """
    mean = running_mean(average, weights, count)
    return mean if alpha == 1 else interpolate(anchor, mean, alpha)


@torch.no_grad()
def interpolate(start: Named, end: Named, alpha: float) -> dict[str, Tensor]:
    """``(1 - alpha) * start + alpha * end`` (WiSE-FT, Wortsman et al. 2022); alpha weighs the fine-tuned ``end``.

    Integer tensors, names and entries that ``start`` does not have are taken from ``end``.
    """
    merged = {}
    for name, tensor in end.items():
        merged[name] = tensor.clone()
        if name in start and tensor.is_floating_point():
            old = start[name]
            corner(merged[name], old.shape, name).mul_(alpha).add_((1 - alpha) * old)
    return merged


@torch.no_grad()
def interpolate_by_fisher(
    start: Named, end: Named, start_fisher: Named, end_fisher: Named, alpha: float, floor: float = 1e-8
) -> dict[str, Tensor]:
    """Elementwise mean with weights ``(1 - alpha) max(F_start, floor)`` and ``alpha max(F_end, floor)`` (WiSE-FT).

    All four mappings hold tensors of equal shape under every name of ``end``.
    """
    for others in (start, start_fisher, end_fisher):
        require_names(end, others)
    merged = {}
    for name, tensor in end.items():
        start_weight = (1 - alpha) * start_fisher[name].clamp(min=floor)
        end_weight = alpha * end_fisher[name].clamp(min=floor)
        merged[name] = (start_weight * start[name] + end_weight * tensor) / (start_weight + end_weight)
    return merged


def weight_consolidation(parameters: Named, anchor: Named) -> Float[Tensor, ""]:
    """``sum_i (theta_i - a_i)^2`` over every anchored tensor: no 1/2, no mean, no importance (ZSCL).

    Differentiable. Tensors that grew are compared in their leading corner.
    """
    squares = [
        (theta - old.detach()).square().sum()
        for theta, old in zip(matching(parameters, anchor), anchor.values(), strict=True)
    ]
    return torch.stack(squares).sum() if squares else torch.zeros(())


def add_consolidation_gradient(parameters: Named, anchor: Named, weight: float) -> None:
    """Add ``2 * weight * (theta - a)`` to ``parameter.grad`` in place: the gradient of ``weight * consolidation``."""
    add_quadratic_gradient(parameters, None, anchor, 2 * weight)
