"""AnalyticHead: zero-shot probabilities, and in rows that they give to a learned class a regression beside them."""

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Inputs
from mmcl.models.heads import Head
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import full_precision
from mmcl_strategies.parameter_efficient.regression import Regression
from mmcl_strategies.parameter_efficient.ridge import fused, unit


class AnalyticHead(Head):
    """Scores any classes: those that were learned by both, the others by their prompts.

    Args:
        zero_shot: the head of the pre-trained model.
        regression: what is learned.
        weight: of the regression.
    """

    def __init__(self, zero_shot: Head, regression: Regression, weight: float) -> None:
        super().__init__()
        self.zero_shot, self.regression, self.weight = zero_shot, regression, weight

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Logarithms of what ``predict`` gives, so that likelihoods are those of the answers."""
        return _positive(self.predict(output, inputs, label_space)).log()

    def predict(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The fused scores ``[B, C]``; in rows of a class that was not learned they are the softmax of the prompts'."""
        zero_shot = full_precision(self.zero_shot.score(output, inputs, label_space)).softmax(dim=1)
        columns = label_space.columns(self.regression.ids)
        competing = columns >= 0
        known = zero_shot.new_zeros(len(label_space), dtype=torch.bool)
        known[columns[competing]] = True
        values = zero_shot.new_zeros(zero_shot.shape, dtype=torch.float64)
        values[:, columns[competing]] = self.regression(unit(output.fused))[:, competing]
        return fused(zero_shot, values, known, self.weight)

    def confidence(self, scores: Tensor) -> Tensor:
        """The scores as shares of their sum: a regression on one-hot targets estimates probabilities, as p does."""
        positive = _positive(scores)
        return positive / positive.sum(dim=1, keepdim=True)


def _positive(scores: Tensor) -> Tensor:
    """A regression may fall below 0; such a class has next to no probability."""
    return scores.clamp(min=torch.finfo(scores.dtype).tiny)
