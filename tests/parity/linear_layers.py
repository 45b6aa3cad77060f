"""A network of linear layers, ``W1 b1`` to ``Wn bn``, as a case names them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcl.models.plain import PlainBackbone

from .case import Case


def network(case: Case, activation: type[nn.Module]) -> PlainBackbone:
    """Flatten, then the layers at their initial weights with the activation between them."""
    parts: list[nn.Module] = [nn.Flatten()]
    for number in range(1, len(case.names("in_W")) + 1):
        weight, bias = case.tensor(f"in_W{number}"), case.tensor(f"in_b{number}")
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=case.precision)
        put(layer, {"weight": weight, "bias": bias})
        parts += [layer, activation()]
    return PlainBackbone(nn.Sequential(*parts[:-1]), case.arrays["in_images"].shape[1:], len(bias))


def by_layer(case: Case, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values by the names of the model's parameters -> the same by the names of the case."""
    named = {}
    for number in range(1, len(case.names("in_W")) + 1):
        for letter, kind in (("W", "weight"), ("b", "bias")):
            named[f"{letter}{number}"] = values[f"backbone.network.{2 * number - 1}.{kind}"]
    return named


@torch.no_grad()
def put(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give parameters of a module these values."""
    for name, value in values.items():
        module.get_parameter(name).copy_(value)
