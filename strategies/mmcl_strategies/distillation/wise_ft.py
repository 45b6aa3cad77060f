"""WiSE-FT: weights between the fine-tuned model and the one before.

Paper: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022; used continually as in the comparison of
ZSCL (Zheng et al., ICCV 2023), whose released code decides.
Idea: a model between a robust one and its fine-tuned version keeps most of what both can do.
Equation: ``theta = (1 - alpha) theta_A + alpha theta_B``, B fine-tuned, A from before. With ``fisher`` elementwise
``(c_A theta_A + c_B theta_B) / (c_A + c_B)``, ``c_A = (1 - alpha) max(F_A, floor)``, ``c_B = alpha max(F_B, floor)``.
Computation: ``when = "continual"`` merges once, after the last step of an experience; the merged weights are evaluated,
saved and start the next experience. A is the model that the last experience handed over, or with ``start = "initial"``
always the pre-trained one. ``when = "evaluation"`` merges with the pre-trained model for the time of an evaluation
only; what is handed over and saved is the fine-tuned model.
Kept between experiences: the weights; with ``fisher`` the Fisher information of the weights handed over.
Deviations: parameters that serve all experiences are merged; heads and add-ons stay, and so do buffers: a tower with
batch norm goes on with the statistics of the fine-tuned model. Whose Fisher information it is, is ours: F_B that of the
fine-tuned weights on the experience's data, F_A that of the weights handed over on the data of the experience that did
so, or before the first one that of the pre-trained weights on its data.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.learning.teachers import Policy
from mmcl.options import Count, Positive, Share, check_options
from mmcl_strategies.maths.averaging import interpolate, interpolate_by_fisher
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from mmcl_strategies.shared.choices import require


@dataclass
class WiSEFTState:
    """What weighs the weights handed over."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # F_A by parameter name, with ``fisher`` only


@dataclass(kw_only=True, eq=False)
class WiSEFT(StrategyPlugin):
    """Hands over, or evaluates, weights between the fine-tuned ones and those from before."""

    alpha: Share = 0.8  # of the fine-tuned weights
    when: Literal["continual", "evaluation"] = "continual"  # merge at the end of an experience, or for evaluations only
    start: Literal["previous", "initial"] = "previous"  # A of a continual merge: handed over last, or pre-trained
    fisher: bool = False  # weigh a continual merge with the previous weights by Fisher information
    floor: Positive = 1e-8  # least Fisher information
    samples: Count = 500  # random samples for the Fisher information

    state: WiSEFTState = field(default_factory=WiSEFTState, init=False, repr=False)
    _trained: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers, and that there is a Fisher information where it is asked for."""
        check_options(self, "wise_ft")
        weighable = (self.when, self.start) == ("continual", "previous")
        unless = "false, unless when = 'continual' and start = 'previous'"
        require(weighable or not self.fisher, "wise_ft.fisher", self.fisher, unless)

    @property
    def rewrites_weights(self) -> bool:
        """With a continual merge."""
        return self.when == "continual"

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """The model that is merged with, A."""
        return frozenset({self.start if self.when == "continual" else "initial"})

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Before the first experience the pre-trained weights get their Fisher information."""
        if self.fisher and not self.state.fisher:
            self.state.fisher = self._information(learner)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Hand over the merged weights."""
        if self.when != "continual":
            return
        start = learner.teacher(self.start).weights()
        end = {name: parameter.detach() for name, parameter in learner.model.shared_parameters()}
        if self.fisher:
            old = self._completed(end)
            merged = interpolate_by_fisher(start, end, old, self._information(learner), self.alpha, self.floor)
        else:
            merged = interpolate(start, end, self.alpha)
        self._put(learner, merged)
        if self.fisher:
            self.state.fisher = self._information(learner)

    def before_eval(self, learner: Learner, **_: object) -> None:
        """Merge for the evaluation."""
        if self.when != "evaluation":
            return
        self._trained = {name: parameter.detach().clone() for name, parameter in learner.model.shared_parameters()}
        self._put(learner, interpolate(learner.teacher("initial").weights(), self._trained, self.alpha))

    def after_eval(self, learner: Learner, **_: object) -> None:
        """Put the trained weights back, bit by bit."""
        self._put(learner, self._trained)
        self._trained = {}

    @torch.no_grad()
    def _put(self, learner: Learner, weights: dict[str, Tensor]) -> None:
        for name, parameter in learner.model.shared_parameters():
            if name in weights:
                parameter.copy_(weights[name])

    def _completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The Fisher information of the weights handed over; 0 for parameters that were not trained then."""
        return {name: self.state.fisher.get(name, torch.zeros_like(weight)) for name, weight in weights.items()}

    def _information(self, learner: Learner) -> dict[str, Tensor]:
        """Fisher information of the current weights on the current experience."""
        return FisherPass("empirical", self.samples, 32, None, "none")(learner, dict(learner.model.shared_parameters()))
