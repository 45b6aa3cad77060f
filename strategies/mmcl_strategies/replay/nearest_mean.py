"""Classification by the nearest mean of exemplars: the features, the means, and the head that answers with them."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.data.selection import unit_length
from mmcl.models.arrival import Arrival
from mmcl.models.heads import Head, LinearHead
from mmcl.models.output import Output

FUSED = "fused"


def exemplar_features(output: Output, which: str) -> Float[Tensor, "B D"]:
    """What herding and means work on: the fused features, or one modality's in rows that have it."""
    if which not in output.features:
        return output.fused
    return torch.where(output.present[which].unsqueeze(1), output.features[which], output.fused)


def mirrored(inputs: Inputs) -> Inputs:
    """The same inputs with their images flipped left to right; nothing else has sides."""
    values = {name: value.flip(-1) if name == IMAGE else value for name, value in inputs.items()}
    return inputs.replace(values=values)


def prototype(features: Float[Tensor, "m D"]) -> Float[Tensor, " D"]:
    """``norm(mean_p norm(phi(p)))`` of exemplar features."""
    mean = unit_length(features).mean(0)
    length: Tensor = mean.norm()
    return mean / length


def squared_distances(
    features: Float[Tensor, "B D"], means: Float[Tensor, "C D"], held: Bool[Tensor, " C"]
) -> Float[Tensor, "B C"]:
    """``|| norm(phi(x)) - mu_y ||^2``; infinite for classes without exemplars.

    Args:
        features: phi of each sample.
        means: prototypes.
        held: whether a class has exemplars.
    """
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(unit_length(features), means, compute_mode=exact).square().masked_fill(~held, torch.inf)


class ExemplarHead(Head):
    """Linear units are trained, the nearest mean of exemplars answers.

    Args:
        embed_dim: D.
        feature: whose means are compared, ``"fused"`` or a modality.
        by_mean: whether means answer at all; otherwise the units do.
    """

    means: Tensor
    held: Tensor

    def __init__(self, embed_dim: int, feature: str = FUSED, by_mean: bool = True) -> None:
        super().__init__()
        self.linear = LinearHead(embed_dim)
        self.feature = feature
        self.by_mean = by_mean
        self.register_buffer("means", torch.zeros(0, embed_dim))
        self.register_buffer("held", torch.zeros(0, dtype=torch.bool))

    def meet(self, arrival: Arrival) -> None:
        """Add units, and places for means that are not there yet."""
        self.linear.meet(arrival)
        new = len(self.linear.weight) - len(self.means)
        self.means = torch.cat([self.means, self.means.new_zeros(new, self.means.shape[1])])
        self.held = torch.cat([self.held, self.held.new_zeros(new)])

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether every class has its unit."""
        return self.linear.knows(label_space)

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The logits of the units."""
        return self.linear.score(output, inputs, label_space)

    def predict(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Minus the squared distances to the means; the logits while no class that competes has one."""
        rows = self.linear.units(label_space)
        if not self.by_mean or not bool(self.held[rows].any()):
            return self.score(output, inputs, label_space)
        features = exemplar_features(output, self.feature).to(self.means.dtype)
        return -squared_distances(features, self.means[rows], self.held[rows])

    def place(self, label_space: LabelSpace, means: Mapping[int, Float[Tensor, " D"]]) -> None:
        """Replace all means by these.

        Args:
            label_space: all classes met.
            means: by class id, of those with exemplars.
        """
        self.means.zero_()
        self.held.zero_()
        for label, row in zip(label_space, self.linear.units(label_space), strict=True):
            if label.id in means:
                self.means[row] = means[label.id]
                self.held[row] = True
