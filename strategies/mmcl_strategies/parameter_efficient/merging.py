"""Merging: task vectors, each what fine-tuning has added to the pre-trained weights, become one.

Sources: task arithmetic, Ilharco et al., ICLR 2023; TIES, Yadav et al., NeurIPS 2023; MagMax, Marczak et al., ECCV
2024. What peft has of them is peft's: trimming, election of signs and disjoint merge of TIES, and the weighted sum. Of
earlier vectors only sums are kept, whose size is that of the model however many vectors they are made of.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Named = Mapping[str, Tensor]
Kept = Mapping[str, Named]  # what a merging keeps of the vectors it has met, by part and by name


class Merging(ABC):
    """How task vectors that come one after the other become one."""

    @abstractmethod
    def joined(self, kept: Kept, vector: Named) -> dict[str, dict[str, Tensor]]:
        """What is kept of one vector more; ``kept`` is empty before the first one."""

    @abstractmethod
    def merged(self, kept: Kept) -> dict[str, Tensor]:
        """The one vector that stands for all."""

    @abstractmethod
    def scale(self, count: int) -> float:
        """The lambda that the merged one of ``count`` vectors is added with, unless somebody chooses another."""


@dataclass(frozen=True)
class TaskArithmetic(Merging):
    """The sum; with the scale ``1 / count`` the merged weights are the mean of the fine-tuned ones."""

    def joined(self, kept: Kept, vector: Named) -> dict[str, dict[str, Tensor]]:
        """The sum with one more."""
        return {"sum": _joined(kept.get("sum", {}), vector, total)}

    def merged(self, kept: Kept) -> dict[str, Tensor]:
        """The sum that is kept."""
        return dict(kept["sum"])

    def scale(self, count: int) -> float:
        """One over their number: the mean."""
        return 1 / count


@dataclass(frozen=True)
class TIES(Merging):
    """The mean of the trimmed entries that have the sign of their sum.

    Attributes:
        density: the share of the entries of a vector that is left, of all parameters together.
    """

    density: float

    def joined(self, kept: Kept, vector: Named) -> dict[str, dict[str, Tensor]]:
        """Sums and numbers of the entries of either sign."""
        left = trimmed(vector, self.density)
        new = {
            "positive": {name: part.clamp(min=0) for name, part in left.items()},
            "negative": {name: part.clamp(max=0) for name, part in left.items()},
            "positives": {name: (part > 0).to(part.dtype) for name, part in left.items()},
            "negatives": {name: (part < 0).to(part.dtype) for name, part in left.items()},
        }
        return {part: _joined(kept.get(part, {}), more, total) for part, more in new.items()}

    def merged(self, kept: Kept) -> dict[str, Tensor]:
        """Of each entry the mean on the side that weighs more."""
        positive, negative, positives, negatives = (
            kept[part] for part in ("positive", "negative", "positives", "negatives")
        )
        return {
            name: elected_mean(
                torch.stack([positive[name], negative[name]]), torch.stack([positives[name], negatives[name]])
            )
            for name in positive
        }

    def scale(self, count: int) -> float:
        """That of the comparison in MagMax's code."""
        return 0.55


@dataclass(frozen=True)
class MagMax(Merging):
    """The entry that is farthest from 0."""

    def joined(self, kept: Kept, vector: Named) -> dict[str, dict[str, Tensor]]:
        """The entries that are farthest so far."""
        return {"farthest": _joined(kept.get("farthest", {}), vector, farthest)}

    def merged(self, kept: Kept) -> dict[str, Tensor]:
        """The entries that are farthest."""
        return dict(kept["farthest"])

    def scale(self, count: int) -> float:
        """That of the authors' code."""
        return 0.5


def task_vector(weights: Named, initial: Named) -> dict[str, Tensor]:
    """``weights - initial``, of the parameters that ``initial`` has in the same shape."""
    return {
        name: weight.detach() - initial[name].detach()
        for name, weight in weights.items()
        if name in initial and initial[name].shape == weight.shape
    }


def added(initial: Named, vector: Named, scale: float) -> dict[str, Tensor]:
    """``initial + scale vector``."""
    return {name: initial[name].detach() + scale * part for name, part in vector.items()}


def total(first: Float[Tensor, "..."], second: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """``first + second``, by peft's task arithmetic."""
    from peft.utils.merge_utils import task_arithmetic

    summed: Tensor = task_arithmetic([first, second], torch.ones(2, dtype=first.dtype, device=first.device))
    return summed


def trimmed(vector: Named, density: float) -> dict[str, Tensor]:
    """The entries of largest magnitude, ``int(density n)`` of the ``n`` of all names together; the others are 0."""
    from peft.utils.merge_utils import prune

    if density == 1:
        return dict(vector)
    flat = prune(torch.cat([part.flatten() for part in vector.values()]), density, method="magnitude")
    pieces = flat.split([part.numel() for part in vector.values()])
    return {name: piece.view_as(part) for (name, part), piece in zip(vector.items(), pieces, strict=True)}


def elected_mean(sums: Float[Tensor, "2 ..."], counts: Float[Tensor, "2 ..."]) -> Float[Tensor, "..."]:
    """The mean of the entries with the sign of the sum of all, by peft's election and disjoint merge.

    Args:
        sums: of the positive entries, and of the negative ones.
        counts: how many these are.
    """
    from peft.utils.merge_utils import calculate_majority_sign_mask, disjoint_merge

    elected = calculate_majority_sign_mask(sums, method="total")
    mean: Tensor = disjoint_merge(sums, elected) / (counts * elected).sum(0).clamp(min=1)
    return mean


def farthest(first: Float[Tensor, "..."], second: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Of each entry that of larger magnitude; the second where they are equal."""
    return torch.where(second.abs() >= first.abs(), second, first)


def _joined(before: Named, more: Named, join: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
    """Both by name; what only one of them has, stays."""
    return {**before, **{name: join(before[name], part) if name in before else part for name, part in more.items()}}
