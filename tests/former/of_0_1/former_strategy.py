"""Former strategy: a quadratic pull towards the weights of the previous experience.

Paper: an example to start from. Name authors, title, venue and year, and the official code.
Idea: weights near those that the last experience handed over still solve it.
Equation: ``L = L_task + strength/2 * sum_i (theta_i - anchor_i)^2``; in the first experience there is no anchor.
Kept between experiences: the anchor, a copy of the shared weights.
Deviations: none. Say what differs from the paper, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin, Terms
from mmcl.options import NonNegative


@dataclass
class State:
    """What is kept between experiences: tensors, numbers, strings, lists and dictionaries, so that it can be saved."""

    anchor: dict[str, Tensor] = field(default_factory=dict)  # the weights handed over last, by name


@dataclass(kw_only=True, eq=False)
class FormerStrategy(StrategyPlugin):
    """Pulls the weights towards those of the previous experience."""

    strength: NonNegative = 1.0  # lambda in the equation

    state: State = field(default_factory=State, init=False, repr=False)

    def terms(self) -> Terms:
        """The names of what is added."""
        return Terms(loss=("pull",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """What is added to the task loss of the current batch, by name."""
        if not self.state.anchor:
            return {}
        weights = dict(learner.model.shared_parameters())
        return {"pull": self.strength * pull(weights, self.state.anchor)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Remember the weights that this experience hands over."""
        self.state.anchor = {name: weight.detach().clone() for name, weight in learner.model.shared_parameters()}


def pull(weights: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Tensor:
    """``1/2 sum_i (theta_i - anchor_i)^2`` over all tensors that have an anchor; a scalar."""
    return 0.5 * torch.stack([(weights[name] - value).square().sum() for name, value in anchor.items()]).sum()
