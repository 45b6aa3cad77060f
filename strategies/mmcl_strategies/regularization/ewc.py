"""EWC: elastic weight consolidation, exact and at constant cost.

Paper: Kirkpatrick et al., PNAS 114(13), 2017. There is no official code.
Idea: after an experience, approximate the posterior of the weights by a Gaussian around the solution, with the diagonal
of the Fisher information as precision; later training pays a quadratic price for leaving it.
Equation: ``L = L_task + strength/2 * sum_k sum_i F_k,i (theta_i - theta_k,i)^2`` over all earlier experiences k, each
with its own anchor. The sum over k is one quadratic, ``F_sum theta^2 - 2 Fa_sum theta + Faa``, so three sums hold all
experiences exactly and a step costs the same after fifty experiences as after one.
Fisher: ``1/N sum_n (d log p(y_n | x_n) / d theta)^2``, squared per sample and then averaged, at the final weights, in
evaluation mode, on un-augmented data of the experience alone, free of label smoothing and of other strategies.
Kept between experiences: the three sums. Names that appear later are unprotected until they have a Fisher; tensors that
grew are protected in their old part.
Deviations: the penalty acts on the gradient side, after the backward pass, which gives the same update (with gradient
clipping: before it). The default estimator uses the true labels ("empirical"); ``sampled`` and ``exact`` are there, and
``batched`` reproduces libraries that square batch means. ``samples = 500`` random samples by default: van de Ven (2025)
finds no loss against all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn

from mmcl.data.sample import Batch
from mmcl.data.subset import Subset
from mmcl.errors import ConfigError
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, StrategyPlugin, Terms
from mmcl_strategies.maths import fisher
from mmcl_strategies.maths.quadratic import (
    SeparateSums,
    accumulate_separate,
    add_quadratic_gradient,
    separate_centre,
    separate_penalty,
)

ESTIMATORS = ("empirical", "sampled", "exact", "batched")


@dataclass
class EWCState:
    """``F_sum``, ``Fa_sum`` and ``Faa`` of ``SeparateSums``, by parameter name."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # F_sum, the Fisher information
    fisher_anchor: dict[str, Tensor] = field(default_factory=dict)  # Fa_sum, the same times the solutions
    fisher_anchor_squared: dict[str, Tensor] = field(default_factory=dict)  # Faa, one number per parameter


@dataclass(kw_only=True, eq=False)
class EWC(StrategyPlugin):
    """Pulls each weight to its earlier solutions, in proportion to their Fisher information."""

    strength: float = 1000.0  # lambda; the paper's 1/2 is kept. Tune it on a log grid
    fisher: str = "empirical"  # estimator: empirical, sampled, exact or batched
    samples: int | None = 500  # random samples for the Fisher; None: all
    batch_size: int = 32  # of the Fisher pass; changes the result of "batched" only
    include: tuple[str, ...] = ("*",)  # glob patterns of parameter names to protect
    exclude: tuple[str, ...] = ()  # and of those not to

    state: EWCState = field(default_factory=EWCState, init=False, repr=False)
    _centre: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the choices."""
        for name, value, holds, allowed in (
            ("fisher", self.fisher, self.fisher in ESTIMATORS, ", ".join(ESTIMATORS)),
            ("strength", self.strength, self.strength >= 0, "zero or more"),
            ("samples", self.samples, self.samples is None or self.samples > 0, "a positive number, or none for all"),
        ):
            if not holds:
                raise ConfigError(f"ewc.{name}", found=f"{value!r}", allowed=allowed, remedy="Choose one of these.")

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(gradient=("penalty",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The pull of all earlier experiences has one centre."""
        self._centre = separate_centre(self.state.fisher, self.state.fisher_anchor)

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """``strength * F_sum (theta - centre)``; nothing in the first experience."""
        if not self._centre:
            return {}
        parameters = self._protected(learner)
        add_quadratic_gradient(parameters, self.state.fisher, self._centre, self.strength)
        sums = tuple(vars(self.state).values())
        return {"penalty": lambda: self.strength * separate_penalty(parameters, *sums)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Add this experience's Fisher and anchor to the sums."""
        parameters = self._protected(learner)
        with auxiliary_pass(learner.model):
            information = self._estimate(learner, parameters)
        anchor = {name: parameter.detach() for name, parameter in parameters.items()}
        sums = accumulate_separate(SeparateSums(**vars(self.state)), information, anchor)
        self.state = EWCState(**sums._asdict())

    def _protected(self, learner: Learner) -> dict[str, nn.Parameter]:
        return {
            name: parameter
            for name, parameter in learner.model.shared_parameters()
            if any(fnmatchcase(name, pattern) for pattern in self.include)
            and not any(fnmatchcase(name, pattern) for pattern in self.exclude)
        }

    def _estimate(self, learner: Learner, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        assert learner.experience is not None
        samples, generator = learner.experience.samples, learner.generator("fisher")
        chosen = torch.randperm(len(samples), generator=generator)[: self.samples].tolist()

        def batches() -> Iterator[Batch]:
            return learner.one_pass(Subset(samples, chosen), self.batch_size)

        towers = [learner.model.backbone.tower(modality) for modality in learner.experience.modalities]
        estimators: dict[str, Callable[[], dict[str, Tensor]]] = {
            "empirical": lambda: fisher.empirical(parameters, batches(), learner.log_likelihood, towers),
            "sampled": lambda: fisher.sampled(
                parameters,
                batches(),
                learner.log_probabilities,
                partial(fisher.draw_labels, generator=generator),
                towers,
            ),
            "exact": lambda: fisher.exact(parameters, batches(), learner.log_probabilities, towers),
            "batched": lambda: fisher.batched(parameters, batches(), learner.log_likelihood),
        }
        return estimators[self.fisher]()
