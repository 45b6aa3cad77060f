"""Merge: after every experience the fine-tuned weights are merged with those of all before.

Paper: MagMax, Marczak et al., "MagMax: Leveraging Model Merging for Seamless Continual Learning", ECCV 2024, whose code
decides; ``method="ties"``: Yadav et al., "TIES-Merging: Resolving Interference When Merging Models", NeurIPS 2023;
``method="task_arithmetic"``: Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023.
Idea: what fine-tuning adds to pre-trained weights is a vector for each task; one vector can stand for all.
Equation: ``tau_t = theta_t - theta_0``, ``theta = theta_0 + lambda merged(tau_1 ... tau_t)``. MagMax: of each entry the
one of largest magnitude. TIES: of each vector the ``density`` largest entries are left, the sign of their sum is
elected, and those of that sign are averaged. Task arithmetic: the sum.
Computation: theta is handed over, evaluated and saved. The next experience is fine-tuned from ``start``: theta_t, as in
MagMax; the pre-trained weights, as in the two other papers; or theta.
Kept between experiences: sums of the vectors, of the size of the model whatever their number, and theta_t.
Deviations: parameters that serve all experiences are merged; heads, add-ons and buffers stay as they were trained. The
authors of TIES leave one entry more of each vector, and where the entries that are left cancel exactly they elect the
sign that most parameters have; peft, whose functions are used, elects the positive one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.learning.teachers import Policy
from mmcl.options import Positive, PositiveShare
from mmcl_strategies.parameter_efficient.merging import TIES, MagMax, Merging, TaskArithmetic, added, task_vector


@dataclass
class MergeState:
    """What is known of the fine-tuned weights."""

    count: int = 0  # t, experiences merged
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # sums of the task vectors
    trained: dict[str, Tensor] = field(default_factory=dict)  # theta_t, with ``start = "trained"`` only


@dataclass(kw_only=True, eq=False)
class Merge(StrategyPlugin):
    """Hands over the pre-trained weights and one vector that stands for those of all experiences."""

    teachers: ClassVar[frozenset[str | Policy]] = frozenset({"initial"})
    rewrites_weights: ClassVar[bool] = True

    method: Literal["magmax", "ties", "task_arithmetic"] = "magmax"  # how task vectors are merged
    start: Literal["trained", "initial", "merged"] = "trained"  # theta_t of the last experience, theta_0, or theta
    scale: Positive | None = None  # lambda; None: 0.5 of magmax, 0.55 of ties, 1 / t of task_arithmetic
    density: PositiveShare = 0.2  # of a task vector that ties leaves

    state: MergeState = field(default_factory=MergeState, init=False, repr=False)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Begin from fine-tuned or pre-trained weights instead of those handed over."""
        if self.state.count and self.start != "merged":
            initial = learner.teacher("initial").weights()
            _put(learner, self.state.trained if self.start == "trained" else initial)

    @torch.no_grad()
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Merge one vector more, and hand over."""
        initial, merging, state = learner.teacher("initial").weights(), self._merging, self.state
        weights = dict(learner.model.shared_parameters())
        vector = task_vector(weights, initial)
        if self.start == "trained":
            state.trained = {name: weights[name].detach().clone() for name in vector}
        state.kept, state.count = merging.joined(state.kept, vector), state.count + 1
        scale = merging.scale(state.count) if self.scale is None else self.scale
        _put(learner, added(initial, merging.merged(state.kept), scale))

    @property
    def _merging(self) -> Merging:
        return {"magmax": MagMax(), "ties": TIES(self.density), "task_arithmetic": TaskArithmetic()}[self.method]


@torch.no_grad()
def _put(learner: Learner, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in learner.model.shared_parameters():
        if name in weights and weights[name].shape == parameter.shape:
            parameter.copy_(weights[name])
