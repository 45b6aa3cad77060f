"""Regression: scores of the classes met so far, learned in closed form, as a part of the model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float64, Int
from torch import Tensor, nn

from mmcl_strategies.parameter_efficient.ridge import (
    expanded,
    one_hot,
    rbf_kernel,
    ridge_solution,
    updated,
    widened,
)

Pairs = Iterable[tuple[Float64[Tensor, "n D"], Int[Tensor, " n"]]]  # unit features and class ids, in batches


class Regression(nn.Module, ABC):
    """From unit features to a value for each class that has been learned. All of its buffers are in double precision.

    Attributes:
        growing: names of the buffers whose shape follows from what has been learned.
        ids: ``int64[C]``, the class of every column, in the order of arrival.
    """

    growing: ClassVar[tuple[str, ...]]
    ids: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ids", torch.zeros(0, dtype=torch.long))

    def learn(self, ids: Sequence[int], pairs: Pairs) -> None:
        """Learn one experience.

        Args:
            ids: its classes, new ones or some that return.
            pairs: its samples, in batches.
        """
        known = set(self.ids.tolist())
        new = [id_ for id_ in ids if id_ not in known]
        self.ids = torch.cat([self.ids, self.ids.new_tensor(new)])
        self.absorb(pairs)

    @abstractmethod
    def absorb(self, pairs: Pairs) -> None:
        """Learn samples whose classes have their columns in ``ids``."""

    @abstractmethod
    def forward(self, features: Float64[Tensor, "B D"]) -> Float64[Tensor, "B C"]:
        """A value of each class for rows of unit length."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """Make room for what was learned before it was saved."""
        for name in self.growing:
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class PrimalRegression(Regression):
    """Recursive ridge regression on an expansion of the features; it keeps no sample.

    Args:
        width: D, of the features.
        expansion: h, units of the random layer; 0: the features themselves.
        ridge: lambda.

    Attributes:
        layer: ``W_r [h, D]``, empty without an expansion.
        R: ``[h, h]``.
        W: ``[h, C]``.
    """

    growing: ClassVar[tuple[str, ...]] = ("ids", "W")
    layer: Tensor
    R: Tensor
    W: Tensor

    def __init__(self, width: int, expansion: int, ridge: float) -> None:
        super().__init__()
        size = expansion or width
        layer = nn.Linear(width, expansion, bias=False).weight.detach() if expansion else torch.zeros(0, width)
        self.register_buffer("layer", layer.double())
        self.register_buffer("R", torch.eye(size, dtype=torch.float64) / ridge)
        self.register_buffer("W", torch.zeros(size, 0, dtype=torch.float64))

    def absorb(self, pairs: Pairs) -> None:
        """Update R and W with every batch."""
        self.W = widened(self.W, len(self.ids))
        for features, labels in pairs:
            self.R, self.W = updated(self.R, self.W, self._expanded(features), one_hot(labels, self.ids))

    def forward(self, features: Float64[Tensor, "B D"]) -> Float64[Tensor, "B C"]:
        """The scores ``phi W`` of all classes learned."""
        return self._expanded(features) @ self.W

    def _expanded(self, features: Tensor) -> Tensor:
        return expanded(features, self.layer) if len(self.layer) else features


class DualRegression(Regression):
    """Kernel ridge regression; it keeps the features of every sample.

    Args:
        width: D, of the features.
        gamma: of the kernel ``exp(-gamma ||a - b||^2)``.
        ridge: lambda of the dual form.

    Attributes:
        features: ``X [N, D]``, of all samples so far.
        targets: ``int64[N]``, their class ids.
        alpha: ``[N, C]``.
    """

    growing: ClassVar[tuple[str, ...]] = ("ids", "features", "targets", "alpha")
    features: Tensor
    targets: Tensor
    alpha: Tensor

    def __init__(self, width: int, gamma: float, ridge: float) -> None:
        super().__init__()
        self.gamma, self.ridge = gamma, ridge
        self.register_buffer("features", torch.zeros(0, width, dtype=torch.float64))
        self.register_buffer("targets", torch.zeros(0, dtype=torch.long))
        self.register_buffer("alpha", torch.zeros(0, 0, dtype=torch.float64))

    def absorb(self, pairs: Pairs) -> None:
        """Append the samples, and solve for all of them anew."""
        features, targets = zip((self.features, self.targets), *pairs, strict=True)
        self.features, self.targets = torch.cat(features), torch.cat(targets)
        kernel = rbf_kernel(self.features, self.features, self.gamma)
        self.alpha = ridge_solution(kernel, one_hot(self.targets, self.ids), self.ridge)

    def forward(self, features: Float64[Tensor, "B D"]) -> Float64[Tensor, "B C"]:
        """The scores ``k(x, X) alpha`` of all classes learned."""
        return rbf_kernel(features, self.features, self.gamma) @ self.alpha
