"""Quadratic penalties on weights, keyed by parameter name: the algebra of EWC and its relatives.

Every penalty here is ``1/2 sum_i F_i (theta_i - c_i)^2`` with a curvature F and a centre c; multiply by the strength
lambda. Curvature and centre never carry gradient. The state is kept in float32 or better whatever the model uses.

* separate (Kirkpatrick et al. 2017): one term per earlier experience, held exactly as a single one and a constant;
* single centre (Huszar 2018): summed curvature, centred at the latest weights;
* online (Schwarz et al. 2018, Eq. 8 and 9), running mean (Serra et al. 2018), class-weighted (PyCIL) and moving
  average (EWC++, Chaudhry et al. 2018): other recursions for the curvature around the latest weights.

A parameter frozen during an experience is absent from that experience's Fisher: what is remembered of it stays.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mmcl_strategies.maths.growth import corner, matching, pad_to, require_names

Named = Mapping[str, Tensor]


class Separate(NamedTuple):
    """All that separate EWC remembers of any number k of experiences, per parameter name.

    Attributes:
        fisher: ``F_sum = sum_k F_k``, shaped like the parameter.
        centre: ``c = sum_k F_k a_k / F_sum``, likewise; where no experience has a Fisher, the latest weights.
        constant: ``sum_k sum_i F_k,i (a_k,i - c_i)^2``, a float64 scalar: what no weights can bring down.
    """

    fisher: dict[str, Tensor]
    centre: dict[str, Tensor]
    constant: dict[str, Tensor]


def accumulate_separate(state: Separate, fisher: Named, anchor: Named) -> Separate:
    """Add one finished experience; start from ``Separate({}, {}, {})``.

    The centre moves by ``F_t / F_sum (a_t - c)``. It stays exactly where it is for an entry without a new Fisher and is
    exactly the anchor for one without an old Fisher: a weight that rests there is not pulled at all, where the rounding
    of ``sum F a / sum F`` would be enough for an optimiser that divides by the size of the gradient.

    ``fisher`` and ``anchor`` must belong to the same weights. Entries of a tensor that grew had no Fisher before.
    """
    require_names(fisher, anchor)
    sums = Separate(dict(state.fisher), dict(state.centre), dict(state.constant))
    for name, raw in fisher.items():
        new = _exact(raw)
        latest = corner(_exact(anchor[name]), new.shape, name)
        old = pad_to(state.fisher[name], new.shape, name) if name in state.fisher else torch.zeros_like(new)
        centre = pad_to(state.centre[name], new.shape, name) if name in state.centre else latest
        total = old + new
        moved = torch.where(old > 0, centre + new / total.where(old > 0, 1.0) * (latest - centre), latest)
        harmonic = new.double() * (old.double() / total.where(total > 0, 1.0).double())
        constant = (harmonic * (latest.double() - centre.double()).square()).sum()
        sums.fisher[name], sums.centre[name] = total, moved
        sums.constant[name] = constant + state.constant[name] if name in state.constant else constant
    return sums


def separate_penalty(parameters: Named, fisher: Named, centre: Named, constant: Named) -> Float[Tensor, ""]:
    """``1/2 sum_k sum_i F_k,i (theta_i - a_k,i)^2`` over all earlier experiences, from ``Separate``.

    It is ``1/2 sum_i F_sum (theta - c)^2`` plus half the constant: the expanded form ``F_sum theta^2 - 2 ...`` loses
    half a percent to cancellation in float32. 0 when nothing is remembered. Its gradient is
    ``add_quadratic_gradient(parameters, fisher, centre, strength)``.
    """
    penalty = quadratic_penalty(parameters, fisher, centre)
    for value in constant.values():
        penalty = penalty + (0.5 * value).to(penalty.dtype)
    return penalty


def quadratic_penalty(parameters: Named, curvature: Named, centre: Named) -> Float[Tensor, ""]:
    """``1/2 sum_i F_i (theta_i - c_i)^2`` differentiable; 0 where ``curvature`` is empty."""
    require_names(curvature, centre)
    penalty = _zero_like_any(parameters)
    for (name, weight), theta in zip(curvature.items(), matching(parameters, curvature), strict=True):
        difference = theta - corner(centre[name], weight.shape, name)
        penalty = penalty + 0.5 * (weight * difference.square()).sum()
    return penalty


@torch.no_grad()
def add_quadratic_gradient(parameters: Named, curvature: Named | None, centre: Named, strength: float) -> None:
    """Add ``strength * F (theta - c)`` to ``parameter.grad`` in place: the gradient of ``strength * penalty``.

    ``curvature = None`` stands for F = 1. Frozen parameters are left alone; others without a gradient get one.
    """
    remembered = centre if curvature is None else curvature
    require_names(remembered, centre)
    require_names(remembered, parameters)
    weights, centres, factors, gradients = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    for name, tensor in remembered.items():
        parameter, shape = parameters[name], tensor.shape
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            weights.append(corner(parameter, shape, name))
            centres.append(corner(centre[name], shape, name))
            gradients.append(corner(parameter.grad, shape, name))
            factors.append(tensor)
    if not weights:
        return
    pull = list(torch._foreach_sub(weights, centres))
    if curvature is not None:
        torch._foreach_mul_(pull, factors)
    torch._foreach_add_(gradients, pull, alpha=strength)


def decay_and_add(curvature: Named, fisher: Named, gamma: float) -> dict[str, Tensor]:
    """``gamma * F_{t-1} + F_t`` (Schwarz et al. 2018, Eq. 9); gamma = 1 sums, as in Huszar's form.

    Their Eq. 8 uses ``gamma * F`` again while the next experience is learned: multiply the strength by gamma.
    """
    return _recursion(curvature, fisher, old_weight=gamma, new_weight=1.0)


def mean_fisher(curvature: Named, fisher: Named, count: int) -> dict[str, Tensor]:
    """``(F_t + count * mean) / (count + 1)`` with ``count`` earlier experiences: every experience weighs the same."""
    return _recursion(curvature, fisher, old_weight=count / (count + 1), new_weight=1 / (count + 1))


def class_weighted(
    curvature: Named, fisher: Named, classes_before: int, classes_new: int, clip: float
) -> dict[str, Tensor]:
    """``a F_{t-1} + (1 - a) min(F_t, clip)`` with a = classes before / classes including the new ones (PyCIL).

    An entry without an old value, such as those of new classes in a head that grew, is ``min(F_t, clip)``.
    """
    share = classes_before / max(classes_before + classes_new, 1)
    clipped = {name: tensor.clamp(max=clip) for name, tensor in fisher.items()}
    return moving_average(curvature, clipped, alpha=1 - share)


def add_squares(totals: Named, gradients: Named) -> dict[str, Tensor]:
    """``totals + g^2`` by name, in single precision or better; start from ``{}``."""
    squares = {name: _exact(gradient).square_() for name, gradient in gradients.items()}
    return {name: square.add_(totals[name]) if name in totals else square for name, square in squares.items()}


def moving_average(curvature: Named, squared_gradient: Named, alpha: float) -> dict[str, Tensor]:
    """EWC++: ``alpha g^2 + (1 - alpha) F``; an entry seen for the first time starts at its own ``g^2``.

    ``g^2`` is the square of one gradient, or the mean of several squares.
    """
    averaged = dict(curvature)
    for name, raw in squared_gradient.items():
        new = _exact(raw)
        if name in curvature:
            old = curvature[name]
            corner(new, old.shape, name).mul_(alpha).add_(old, alpha=1 - alpha)
        averaged[name] = new
    return averaged


def move_centre(centre: Named, anchor: Named) -> dict[str, Tensor]:
    """The latest weights of every parameter: new anchors replace old ones, absent ones keep their last value."""
    for name, tensor in centre.items():
        if name in anchor:
            corner(anchor[name], tensor.shape, name)
    return {**centre, **{name: _exact(tensor) for name, tensor in anchor.items()}}


def _recursion(old: Named, new: Named, old_weight: float, new_weight: float) -> dict[str, Tensor]:
    """``old_weight * old + new_weight * new`` for every new name, entries without an old value counting as 0."""
    result = dict(old)
    for name, raw in new.items():
        tensor = _exact(raw) * new_weight
        result[name] = tensor + pad_to(old[name], tensor.shape, name) * old_weight if name in old else tensor
    return result


def _exact(tensor: Tensor) -> Tensor:
    """A copy in float32, or in float64 where it already was; never an alias of a live parameter."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)


def _zero_like_any(tensors: Named) -> Tensor:
    return next(iter(tensors.values())).new_zeros(()) if tensors else torch.zeros(())
