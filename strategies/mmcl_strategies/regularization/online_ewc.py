"""Online EWC: one penalty around the latest solution, with a Fisher information that decays.

Paper: Schwarz et al., "Progress & Compress", ICML 2018, Eq. 8 and 9.
Idea: Huszar's single centre, and a decay that lets very old experiences go gracefully instead of freezing the network.
Equations: ``L = L_task + strength/2 * sum_i gamma F_{t-1},i (theta_i - theta_{t-1},i)^2`` while experience t is
learned, ``F_t = gamma F_{t-1} + F(t)`` after it, centre := theta_t. The decay enters twice; ``decay_in_loss = False``
leaves out the one in the loss (avalanche, mammoth), which is the same as a strength divided by gamma.
Fisher: as in EWC. ``normalise`` divides each new one by a norm before it is added, so that experiences count alike; the
paper normalises and does not say how.
Kept between experiences: the decayed Fisher, the centre, the number of experiences.
Other recursions go by the same name and are there for comparison; they average, hence keep the total strength, and have
no decay: ``mean`` is ``(F(t) + (t-1) F) / t`` (HAT's and CTP's code), ``class_weighted`` is ``a F + (1-a) F(t)`` with a
the share of old among all classes; rows of new classes in a head that grew are those of F(t) (PyCIL, CEAR, for
class-incremental streams). Their runs, which train on the columns of the new classes but take the Fisher over all
classes seen, are ``recursion=class_weighted fisher=batched samples=none fisher_clip=1e-4 fisher_over_seen=true`` with
the training setting ``own_classes=true`` and the batch size of the training for the Fisher pass.
Deviations: as in EWC, the penalty acts on the gradient side, and 500 random samples and the true labels give the
Fisher. Not normalised by default.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from mmcl.learning.strategy import GradientValues, Learner, StrategyPlugin, Terms
from mmcl.options import Count, NonNegative, Positive, Share, Width
from mmcl_strategies.maths.fisher.fisher_pass import Estimator, FisherPass
from mmcl_strategies.maths.fisher.scaling import Norm
from mmcl_strategies.maths.quadratic import (
    add_quadratic_gradient,
    class_weighted,
    decay_and_add,
    mean_fisher,
    move_centre,
    quadratic_penalty,
)
from mmcl_strategies.shared.protection import protected, remembered, require_matches

Recursion = Literal["decay", "mean", "class_weighted"]


@dataclass
class OnlineEWCState:
    """Curvature and centre of the penalty, by parameter name."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # F_{t-1}
    centre: dict[str, Tensor] = field(default_factory=dict)  # theta_{t-1}
    experiences: int = 0  # t - 1


@dataclass(kw_only=True, eq=False)
class OnlineEWC(StrategyPlugin):
    """Pulls each weight to its latest solution, in proportion to a decaying Fisher information."""

    strength: NonNegative = 1000.0  # lambda; the 1/2 is kept. Tune it on a log grid
    gamma: Share = 0.95  # decay of the Fisher per experience; 1 is EWCH
    decay_in_loss: bool = True  # gamma again in the loss, Eq. 8; False: the plain form
    recursion: Recursion = "decay"  # of the Fisher: decay (Eq. 9), mean or class_weighted
    fisher: Estimator = "empirical"  # estimator: empirical, sampled, exact or batched
    samples: Count | None = 500  # random samples for the Fisher; None: all
    batch_size: Width = 32  # of the Fisher pass; changes "batched" and the likelihood of pairs only
    fisher_clip: Positive | None = None  # upper bound of each entry of a new Fisher (PyCIL: 1e-4)
    normalise: Norm = "none"  # divide each new Fisher by its "max", "l1_mean" or "l2"
    fisher_over_seen: bool = False  # let all classes seen compete in the Fisher, whatever training does (PyCIL)
    include: tuple[str, ...] = ("*",)  # glob patterns of parameter names to protect
    exclude: tuple[str, ...] = ()  # and of those not to

    state: OnlineEWCState = field(default_factory=OnlineEWCState, init=False, repr=False)
    _parameters: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(gradient=("penalty",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Find the weights of which something is remembered."""
        require_matches(learner.model, "online_ewc", self.include)
        self._parameters = remembered(learner.model, self.state.fisher)

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """``strength * gamma F (theta - centre)``; nothing in the first experience."""
        if not self._parameters:
            return {}
        parameters, fisher, centre = self._parameters, self.state.fisher, self.state.centre
        strength = self.strength * self.gamma if self.recursion == "decay" and self.decay_in_loss else self.strength
        add_quadratic_gradient(parameters, fisher, centre, strength)
        return {"penalty": lambda: strength * quadratic_penalty(parameters, fisher, centre)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Let the old Fisher decay and add this experience's; its solution is the new centre."""
        parameters = protected(learner, self.include, self.exclude)
        information = self._fisher_pass(learner, parameters)
        solution = parameters | remembered(learner.model, self.state.fisher)
        self.state = OnlineEWCState(
            fisher=self._accumulated(learner, information),
            centre=move_centre(self.state.centre, solution),
            experiences=self.state.experiences + 1,
        )

    def _accumulated(self, learner: Learner, new: dict[str, Tensor]) -> dict[str, Tensor]:
        old, count = self.state.fisher, self.state.experiences
        recursions: dict[str, Callable[[], dict[str, Tensor]]] = {
            "decay": lambda: decay_and_add(old, new, self.gamma),
            "mean": lambda: mean_fisher(old, new, count),
            "class_weighted": lambda: class_weighted(old, new, *_classes(learner), clip=math.inf),
        }
        return recursions[self.recursion]()

    @property
    def _fisher_pass(self) -> FisherPass:
        return FisherPass(
            self.fisher, self.samples, self.batch_size, self.fisher_clip, self.normalise, self.fisher_over_seen
        )


def _classes(learner: Learner) -> tuple[int, int]:
    """How many classes came before the current experience, and how many are new in it."""
    current = learner.current
    before = {id_ for experience in learner.seen if experience is not current for id_ in experience.label_space.ids}
    return len(before), len(set(current.label_space.ids) - before)
