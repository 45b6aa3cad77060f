"""Link: a layer between two gates. Guard: what earlier experiences need of a parameter."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.hard_attention import bias_factor, weight_factor


class Link(NamedTuple):
    """A layer with the gate of the units it feeds and of those it reads; ``None`` where they have no gate."""

    layer: nn.Linear | nn.Conv2d
    after: Gate | None
    before: Gate | None

    def factors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each parameter with the factor of its gradient, in its shape: 1 is free, 0 is protected."""
        after, before = (None if gate is None else gate.used for gate in (self.after, self.before))
        yield self.layer.weight, weight_factor(self.layer.weight.shape, after, before)
        if self.layer.bias is not None:
            device = self.layer.bias.device
            yield self.layer.bias, bias_factor(self.layer.bias.shape, after).to(device)


class Guard:
    """Keeps a parameter as earlier experiences need it.

    Args:
        parameter: as the last experience has left it.
        factor: of its gradient, in its shape: 1 is free, 0 is protected.

    Attributes:
        protected: ``bool``, the entries whose factor is 0.
        frozen: whether all are.
    """

    def __init__(self, parameter: Tensor, factor: Tensor) -> None:
        self.parameter, self.factor = parameter, factor
        self.protected = factor == 0
        self.frozen = bool(self.protected.all())
        self._values = parameter.detach().clone()

    @classmethod
    def of_rows(cls, parameter: Tensor, count: int) -> "Guard":
        """Protects the first rows, those of earlier classes in a linear head."""
        factor = torch.ones_like(parameter)
        factor[:count] = 0
        return cls(parameter, factor)

    def scale_gradient(self) -> None:
        """Multiply the gradient; a frozen parameter gets none, so that no optimiser touches it."""
        if self.frozen:
            self.parameter.grad = None
        elif self.parameter.grad is not None:
            self.parameter.grad.mul_(self.factor)

    @torch.no_grad()
    def put_back(self) -> None:
        """Give protected entries their values again: momentum and weight decay move them without a gradient."""
        self.parameter.copy_(torch.where(self.protected, self._values, self.parameter))


def guards(links: Iterable[Link], ungated: Iterable[Tensor]) -> list[Guard]:
    """One for each parameter that is not entirely free; parameters without a gate are frozen."""
    linked = [pair for link in links for pair in link.factors()]
    unlinked = [(parameter, torch.zeros_like(parameter)) for parameter in ungated]
    return [Guard(parameter, factor) for parameter, factor in (*linked, *unlinked) if bool((factor != 1).any())]
