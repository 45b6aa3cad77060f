"""Tensors remembered by parameter name, compared with a model that has grown since.

A tensor that grew (classifier rows, a prompt pool) keeps its old entries in the *leading corner*: a stored tensor of
shape ``(n0, n1, ...)`` belongs to ``parameter[:n0, :n1, ...]``. Missing entries count as zero.
A tensor that shrank, changed its rank or vanished is an error, because skipping it would silently stop protecting it.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Shaped
from torch import Tensor

from mmcl.errors import PluginError


def corner(tensor: Shaped[Tensor, "..."], shape: torch.Size, name: str) -> Shaped[Tensor, "..."]:
    """The leading corner of ``tensor`` with the given shape, as a view; differentiable."""
    if tensor.shape == shape:
        return tensor
    if len(shape) != tensor.ndim or any(old > new for old, new in zip(shape, tensor.shape, strict=True)):
        raise PluginError(
            f"parameter '{name}'",
            found=f"shape {tuple(tensor.shape)}, remembered with shape {tuple(shape)}",
            allowed="the same number of dimensions, none of them smaller than before",
            remedy="Grow parameters by appending entries, or exclude this one by name.",
        )
    return tensor[tuple(slice(length) for length in shape)]


def pad_to(tensor: Shaped[Tensor, "..."], shape: torch.Size, name: str) -> Shaped[Tensor, "..."]:
    """``tensor`` in the leading corner of zeros of the given shape; itself where the shape is already right."""
    if tensor.shape == shape:
        return tensor
    padded = tensor.new_zeros(shape)
    corner(padded, tensor.shape, name).copy_(tensor)
    return padded


def matching(parameters: Mapping[str, Tensor], remembered: Mapping[str, Tensor]) -> list[Tensor]:
    """For every remembered tensor, in its order, the leading corner of the parameter of that name (a view)."""
    require_names(remembered, parameters)
    return [corner(parameters[name], tensor.shape, name) for name, tensor in remembered.items()]


def require_names(remembered: Iterable[str], present: Mapping[str, Tensor]) -> None:
    """Raise if a remembered name is missing among those present."""
    missing = [name for name in remembered if name not in present]
    if missing:
        raise PluginError(
            f"parameter '{missing[0]}'",
            found=f"{len(missing)} remembered name(s) that are missing now: {', '.join(missing[:5])}",
            allowed="every name that was remembered before",
            remedy="Do not rename or remove protected parameters; drop what is remembered of them if that is intended.",
        )
