"""What a likelihood computes from parameters alone, such as the embeddings of class prompts: once for all samples.

Let ``T(theta)`` be that tensor. The gradient of sample n with respect to the parameters behind it is ``J^T g_n`` with
``g_n = d log p_n / d T``, which is cheap, and one Jacobian J for all samples. ``sum_n (J^T g_n)^2`` depends on the g_n
through their second moment, so a few directions stand for all samples (``second_moment``), each for one backward pass
through J, the largest first. What is missing can be told from the size of the rest and from how much of theirs the
latest directions brought; the passes end when it is no more than ``tolerance``. A direction touches few rows of T,
such as the prompts of a class and of those it is mistaken for; without the faint rest its pass is cheaper.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl_strategies.maths.fisher.recorder import backward_graph
from mmcl_strategies.maths.fisher.second_moment import SecondMoment
from mmcl_strategies.maths.fisher.zero_rows import skipping_zero_rows

_MERGING = 1e-2  # share of the tolerance that is used up while directions are collected
_FAINT = 3e-2  # share of the tolerance that a direction may lose with its faint rows
_LATEST = 8  # directions by which the rest is judged


@dataclass(frozen=True)
class Shared:
    """How to reach the tensor T.

    Attributes:
        compute: T, differentiable; it must not depend on samples.
        holding: a context in which the likelihood uses the given tensor in place of T.
        modules: whatever ``compute`` runs, or more.
        tolerance: share of the sum of all squares that may be missing, half a percent by default. 0: none.
    """

    compute: Callable[[], Tensor]
    holding: Callable[[Tensor], AbstractContextManager[object]]
    modules: Iterable[nn.Module] = ()
    tolerance: float = 5e-3


class SharedStage:
    """T, computed once, and the gradients that samples send to it.

    Attributes:
        leaf: T for the likelihoods, cut off from its parameters.
        names: the parameters behind T.
    """

    def __init__(self, shared: Shared, parameters: Mapping[str, nn.Parameter]) -> None:
        with skipping_zero_rows(shared.modules):
            self._value = shared.compute()
        self._shared = shared
        self._name_of = {id(parameter): name for name, parameter in parameters.items()}
        self._parameters = parameters
        self._cotangents = SecondMoment(_MERGING * shared.tolerance)
        self.names = self._names_behind(self._value)
        self.leaf = self._value.detach().requires_grad_(bool(self.names))

    def held(self) -> AbstractContextManager[object]:
        """Likelihoods evaluated in this context read the leaf."""
        return self._shared.holding(self.leaf)

    def serves(self, values: Float[Tensor, " B"]) -> bool:
        """Whether the likelihoods ``values`` reach the parameters behind T through the leaf alone."""
        return not self.names & self._names_behind(values)

    def add(self, gradient: Float[Tensor, "..."] | None) -> None:
        """The gradient of one sample with respect to the leaf; ``None`` if it has none."""
        if gradient is not None:
            self._cotangents.add(gradient)

    def squares(self) -> dict[str, Tensor]:
        """``sum_n (J^T g_n)^2`` by parameter name."""
        behind = {name: self._parameters[name] for name in sorted(self.names)}
        totals = {
            name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
            for name, parameter in behind.items()
        }
        rows = self._cotangents.rows() if behind else torch.zeros(0, 0)
        sizes, brought = rows.double().square().sum(1).tolist(), list[float]()
        for row in rows:
            if _missing(sizes, brought) <= self._shared.tolerance * sum(brought):
                break
            direction = without_faint_rows(row.reshape(self._value.shape), _FAINT * self._shared.tolerance)
            gradients = torch.autograd.grad(self._value, list(behind.values()), direction, retain_graph=True)
            squares = [gradient.to(total).square() for gradient, total in zip(gradients, totals.values(), strict=True)]
            torch._foreach_add_(list(totals.values()), squares)
            brought.append(float(torch.stack([square.sum() for square in squares]).sum()))
        return totals

    def _names_behind(self, tensor: Tensor) -> set[str]:
        if tensor.grad_fn is None:
            return set()
        found = {id(leaf.variable) for leaf in backward_graph(tensor.grad_fn)[1]}
        return {name for key, name in self._name_of.items() if key in found}


def without_faint_rows(direction: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
    """The same tensor with its shortest rows set to zero, up to a share of the sum of its squares."""
    sizes, order = direction.flatten(1).double().square().sum(1).sort()
    faint = order[sizes.cumsum(0) <= share * sizes.sum()]
    return direction.index_fill(0, faint, 0.0)


def _missing(sizes: list[float], brought: list[float]) -> float:
    """What the directions that are left will bring at most, if none brings more for its size than the latest ones."""
    done = len(brought)
    latest = range(max(0, done - _LATEST), done)
    return sum(sizes[done:]) * max((brought[i] / sizes[i] for i in latest), default=math.inf)
