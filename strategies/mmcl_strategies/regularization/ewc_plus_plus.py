"""EWC++: one penalty around the latest solution, with a Fisher information that runs along during training.

Paper: Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018, section 3.1.
Idea: keep a moving average of squared gradients while training, so that no further pass over the data is needed and one
Fisher serves all experiences.
Equations: after every ``every`` steps ``F^i = alpha G_i + (1 - alpha) F^{i-1}``, ``F^1 = G_1``, with G_i the mean of
the squared gradients of these steps, each of the task loss alone: no penalty and no other strategy's term is in it.
F is never reset. At the end of experience t the current F and theta_t are stored; then
``L = L_task + strength/2 * sum_i F_i (theta_i - theta_t,i)^2``.
Conventions: the first author's code (facebookresearch/agem) averages 50 steps, 10 for permuted MNIST, before F moves;
avalanche moves it at every step (``every = 1``), so that with the weight 0.9 F is little more than the square of the
last gradients. The expected F is the same, so a strength means the same at any ``every``; what changes is its noise.
Steps left over at the end of an experience are dropped, as there; an experience shorter than ``every`` counts as one
window, where that code would learn nothing of it.
The gradient is that of the mean over a batch, so F is about 1/batch of the Fisher information by construction: a
strength of EWC has to be multiplied by about the batch size.
Kept between experiences: the running F, the stored F, the centre.
Deviations: the gradient is taken from the graph of the training step (its augmentation, label smoothing and mode), by a
second backward pass of the task term; avalanche makes a separate forward pass in evaluation mode. Weights that a batch
does not use have gradient 0 there. The penalty acts on the gradient side. F starts at the first mean, that code's at 0
with the same recursion; it also scales the stored F to [0, 1] and has no 1/2: its strengths are on another scale.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmcl.learning.strategy import GradientValues, Learner, StrategyPlugin, Terms
from mmcl.options import Count, NonNegative, PositiveShare
from mmcl_strategies.maths.quadratic import (
    add_quadratic_gradient,
    add_squares,
    move_centre,
    moving_average,
    quadratic_penalty,
)
from mmcl_strategies.shared.protection import protected, remembered, require_matches


@dataclass
class EWCPlusPlusState:
    """Curvature and centre of the penalty and the curvature to come, by parameter name."""

    running: dict[str, Tensor] = field(default_factory=dict)  # F^i
    fisher: dict[str, Tensor] = field(default_factory=dict)  # F at the end of the last experience
    centre: dict[str, Tensor] = field(default_factory=dict)  # theta_t


@dataclass(kw_only=True, eq=False)
class EWCPlusPlus(StrategyPlugin):
    """Pulls each weight to its latest solution, in proportion to a running average of squared task gradients."""

    strength: NonNegative = 20_000.0  # lambda; the 1/2 is kept. Tune it on a log grid
    alpha: PositiveShare = 0.9  # weight of the newest squared gradient
    every: Count = 10  # steps whose squared gradients are averaged before F moves; 1: avalanche's form
    include: tuple[str, ...] = ("*",)  # glob patterns of parameter names to protect
    exclude: tuple[str, ...] = ()  # and of those not to

    state: EWCPlusPlusState = field(default_factory=EWCPlusPlusState, init=False, repr=False)
    _observed: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)
    _parameters: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)
    _window: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _steps: int = field(default=0, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(gradient=("penalty",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Find the weights to watch and those of which something is remembered."""
        require_matches(learner.model, "ewc_plus_plus", self.include)
        self._observed = protected(learner, self.include, self.exclude)
        self._parameters = remembered(learner.model, self.state.fisher)
        self._window, self._steps = {}, 0

    def before_backward(self, learner: Learner, **_: object) -> None:
        """Square the gradient of the task term; ``.grad`` and the graph stay for the step itself."""
        if not self._observed:
            return
        gradients = torch.autograd.grad(
            learner.loss_terms["task"], list(self._observed.values()), retain_graph=True, materialize_grads=True
        )
        self._window = add_squares(self._window, dict(zip(self._observed, gradients, strict=True)))
        self._steps += 1
        if self._steps % self.every == 0:
            self._close_window(self.every)

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """``strength * F (theta - centre)``; nothing in the first experience."""
        if not self._parameters:
            return {}
        parameters, fisher, centre = self._parameters, self.state.fisher, self.state.centre
        add_quadratic_gradient(parameters, fisher, centre, self.strength)
        return {"penalty": lambda: self.strength * quadratic_penalty(parameters, fisher, centre)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Store the running Fisher and the solution."""
        if self._steps < self.every:
            self._close_window(self._steps)
        self.state.fisher = dict(self.state.running)
        self.state.centre = move_centre(self.state.centre, remembered(learner.model, self.state.running))

    def _close_window(self, steps: int) -> None:
        """The mean of the squares moves the running Fisher."""
        means = {name: total / steps for name, total in self._window.items()}
        self.state.running = moving_average(self.state.running, means, self.alpha)
        self._window = {}
