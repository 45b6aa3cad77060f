"""EWC: elastic weight consolidation, exact and at constant cost.

Paper: Kirkpatrick et al., PNAS 114(13), 2017. There is no official code.
Idea: after an experience, approximate the posterior of the weights by a Gaussian around the solution, with the diagonal
of the Fisher information as precision; later training pays a quadratic price for leaving it.
Equation: ``L = L_task + strength/2 * sum_k sum_i F_k,i (theta_i - theta_k,i)^2`` over all earlier experiences k, each
with its own anchor. The sum over k is one quadratic, ``F_sum (theta - centre)^2 + constant`` with the centre at the
Fisher-weighted mean of the anchors, so all experiences are held exactly and a step costs the same after fifty of them
as after one.
Fisher: ``1/N sum_n (d log p(y_n | x_n) / d theta)^2``, squared per sample and then averaged, at the final weights, in
evaluation mode, on un-augmented data of the experience alone, free of label smoothing and of other strategies.
Kept between experiences: the summed Fisher, the centre, the constant. Names that appear later are unprotected until
they have a Fisher; tensors that grew are protected in their old part; frozen parameters are skipped.
Deviations: the penalty acts on the gradient side, after the backward pass, which gives the same update (with gradient
clipping: before it). The default estimator uses the true labels ("empirical"); ``sampled`` and ``exact`` are there, and
``batched`` reproduces libraries that square batch means. ``samples = 500`` random samples by default: van de Ven (2025)
finds no loss against all of them. For parameters behind class prompts up to half a percent of the Fisher may be
missing.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from mmcl.learning.strategy import GradientValues, Learner, StrategyPlugin, Terms
from mmcl.options import Count, NonNegative, Positive, Width
from mmcl_strategies.maths.fisher.fisher_pass import Estimator, FisherPass
from mmcl_strategies.maths.fisher.scaling import Norm
from mmcl_strategies.maths.quadratic import (
    Separate,
    accumulate_separate,
    add_quadratic_gradient,
    separate_penalty,
)
from mmcl_strategies.shared.protection import protected, remembered, require_matches


@dataclass
class EWCState:
    """What ``Separate`` holds, by parameter name."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # F_sum, the Fisher information
    centre: dict[str, Tensor] = field(default_factory=dict)  # the solutions' mean, weighted by it
    constant: dict[str, Tensor] = field(default_factory=dict)  # how far they lie apart, one number per parameter


@dataclass(kw_only=True, eq=False)
class EWC(StrategyPlugin):
    """Pulls each weight to its earlier solutions, in proportion to their Fisher information."""

    strength: NonNegative = 1000.0  # lambda; the paper's 1/2 is kept. Tune it on a log grid
    fisher: Estimator = "empirical"  # estimator: empirical, sampled, exact or batched
    samples: Count | None = 500  # random samples for the Fisher; None: all
    batch_size: Width = 32  # of the Fisher pass; changes "batched" and the likelihood of pairs only
    fisher_clip: Positive | None = None  # upper bound of each entry of a new Fisher (PyCIL: 1e-4)
    normalise: Norm = "none"  # divide each new Fisher by its "max", "l1_mean" or "l2"
    include: tuple[str, ...] = ("*",)  # glob patterns of parameter names to protect
    exclude: tuple[str, ...] = ()  # and of those not to

    state: EWCState = field(default_factory=EWCState, init=False, repr=False)
    _parameters: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(gradient=("penalty",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Find the weights of which something is remembered."""
        require_matches(learner.model, "ewc", self.include)
        self._parameters = remembered(learner.model, self.state.fisher)

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """``strength * F_sum (theta - centre)``; nothing in the first experience."""
        if not self._parameters:
            return {}
        parameters, kept = self._parameters, Separate(**vars(self.state))
        add_quadratic_gradient(parameters, kept.fisher, kept.centre, self.strength)
        return {"penalty": lambda: self.strength * separate_penalty(parameters, *kept)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Add this experience's Fisher and solution."""
        parameters = protected(learner, self.include, self.exclude)
        information = self._fisher_pass(learner, parameters)
        together = accumulate_separate(Separate(**vars(self.state)), information, parameters)
        self.state = EWCState(**together._asdict())

    @property
    def _fisher_pass(self) -> FisherPass:
        return FisherPass(self.fisher, self.samples, self.batch_size, self.fisher_clip, self.normalise)
