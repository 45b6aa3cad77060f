"""EWCH: one penalty around the latest solution, with the Fisher information of all experiences.

Paper: Huszar, "Note on the quadratic penalties in elastic weight consolidation", PNAS 115(11), E2496, 2018. The name
EWCH is that of the survey this project follows; that it means this note is our reading.
Idea: the latest solution was itself found under the earlier penalty, so it already remembers the earlier experiences;
a penalty around every old solution would count their data several times.
Equation: ``L = L_task + strength/2 * sum_i (sum_k F_k,i + prior) (theta_i - theta_{t-1},i)^2``.
Fisher: as in EWC. After experience t: ``F_sum += F_t``, centre := theta_t.
Kept between experiences: the summed Fisher and the centre. The centre of a parameter that is gone from one experience's
Fisher (frozen there) is its latest value; tensors that grew are protected in their old part.
Same as EWC in the second experience; later the curvature is the same and the centre differs.
Deviations: as in EWC, the penalty acts on the gradient side, and 500 random samples and the true labels give the
Fisher. ``prior = 0``: a prior belongs to the start of the stream, and pre-trained weights are no draw from it.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from mmcl.learning.strategy import GradientValues, Learner, StrategyPlugin, Terms
from mmcl.options import Count, NonNegative, Positive, Width
from mmcl_strategies.maths.fisher.fisher_pass import Estimator, FisherPass
from mmcl_strategies.maths.fisher.scaling import Norm
from mmcl_strategies.maths.quadratic import add_quadratic_gradient, decay_and_add, move_centre, quadratic_penalty
from mmcl_strategies.shared.protection import protected, remembered, require_matches


@dataclass
class EWCHState:
    """Curvature and centre of the penalty, by parameter name."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # sum_k F_k
    centre: dict[str, Tensor] = field(default_factory=dict)  # theta_{t-1}


@dataclass(kw_only=True, eq=False)
class EWCH(StrategyPlugin):
    """Pulls each weight to its latest solution, in proportion to the summed Fisher information."""

    strength: NonNegative = 1000.0  # lambda; the 1/2 is kept. Tune it on a log grid
    prior: NonNegative = 0.0  # F_prior, added to the summed Fisher of every weight
    fisher: Estimator = "empirical"  # estimator: empirical, sampled, exact or batched
    samples: Count | None = 500  # random samples for the Fisher; None: all
    batch_size: Width = 32  # of the Fisher pass; changes "batched" and the likelihood of pairs only
    fisher_clip: Positive | None = None  # upper bound of each entry of a new Fisher (PyCIL: 1e-4)
    normalise: Norm = "none"  # divide each new Fisher by its "max", "l1_mean" or "l2"
    include: tuple[str, ...] = ("*",)  # glob patterns of parameter names to protect
    exclude: tuple[str, ...] = ()  # and of those not to

    state: EWCHState = field(default_factory=EWCHState, init=False, repr=False)
    _parameters: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)
    _curvature: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(gradient=("penalty",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The prior joins the sum."""
        require_matches(learner.model, "ewch", self.include)
        self._parameters = remembered(learner.model, self.state.fisher)
        self._curvature = {name: fisher + self.prior for name, fisher in self.state.fisher.items()}

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """``strength * (F_sum + prior) (theta - centre)``; nothing in the first experience."""
        if not self._curvature:
            return {}
        parameters, curvature, centre = self._parameters, self._curvature, self.state.centre
        add_quadratic_gradient(parameters, curvature, centre, self.strength)
        return {"penalty": lambda: self.strength * quadratic_penalty(parameters, curvature, centre)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Add this experience's Fisher; its solution is the new centre."""
        parameters = protected(learner, self.include, self.exclude)
        information = self._fisher_pass(learner, parameters)
        solution = parameters | remembered(learner.model, self.state.fisher)
        self.state = EWCHState(
            fisher=decay_and_add(self.state.fisher, information, gamma=1.0),
            centre=move_centre(self.state.centre, solution),
        )

    @property
    def _fisher_pass(self) -> FisherPass:
        return FisherPass(self.fisher, self.samples, self.batch_size, self.fisher_clip, self.normalise)
