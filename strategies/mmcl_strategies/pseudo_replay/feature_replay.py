"""Feature replay: features of old classes are drawn from densities; the classifier learns from them as from real ones.

Papers: Liu, Wu, Menta, Herranz, Raducanu, Bagdanov, Jui and van de Weijer, "Generative Feature Replay for
Class-Incremental Learning", CVPR workshops 2020 (GFR), for the losses; Frascaroli, Panariello, Buzzega, Bonicelli,
Porrello and Calderara, "CLIP with Generative Latent Replay" (CGIL), BMVC 2024, for densities of CLIP features by class.
Idea: features have fewer dimensions than inputs and drift less, so generate features; keep the extractor from drifting.
Equation: with phi the features of the batch, k how many experiences of today's size the old classes make up and n0, n
the classes of the first and of the current experience, ``k = n0 // n + t - 1`` for the t-th after the first:
``L = (CE_new + k CE_replay) / (k + 1) + strength k |phi - phi_old|_2``, one norm over the whole batch. CE_replay is of
as many drawn features as there are real ones, their classes drawn uniformly among the old ones.
Densities: when an experience ends, one for each of its classes, of its raw, un-augmented features in evaluation mode: a
Gaussian, a mixture (``mog``), or a variational autoencoder (``vae``). Draws enter fusion and head as real features do,
so a head that works on cosines normalises the draws, not the data of the fit. The features of all modalities of a
sample are drawn together from one density; a class whose samples differ in their modalities has one for each set of
them, drawn as often as it occurred.
Extractor: if it is trained it is distilled, in evaluation mode (batch normalisation keeps its statistics) from the
second experience on; if it is frozen the drift is zero, its term is left out, and the classifier alone learns.
Scenarios: a class that comes back in another experience (DIL) has a density for each; where only the classes of a
sample's own experience compete (TIL), those of the drawn class do.
Kept between experiences: the densities; they grow with the classes. The old extractor is the model handed over.
Deviations: densities in place of GFR's conditional WGAN-GP, so there is no generator to align; CGIL's classifier is
trained in a phase of its own after each experience, here replay accompanies the training. A first experience with
fewer classes than the current one counts as one, where ``n0 // n`` would forget it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmcl.learning.compose import Need, Slot
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.options import Count, Positive, Share, Width
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, fit_classes, joined
from mmcl_strategies.pseudo_replay.density import Density, fit
from mmcl_strategies.pseudo_replay.feature_vae import fit_vae
from mmcl_strategies.pseudo_replay.weights import NOTHING_REPLAYED, Weights, by_classes, old_factor
from mmcl_strategies.shared.drawn_features import loss_of_drawn


def drift(features: Float[Tensor, "B W"], old: Float[Tensor, "B W"]) -> Float[Tensor, ""]:
    """``|phi - phi_old|_2``, the Euclidean norm of the whole matrix (GFR); the old ones are the frozen extractor's."""
    norm: Tensor = torch.linalg.vector_norm(features - old.detach())
    return norm


@dataclass
class FeatureReplayState:
    """What is left of the classes."""

    densities: list[dict[str, Any]] = field(default_factory=list)  # see ClassDensities


@dataclass(kw_only=True, eq=False)
class FeatureReplay(StrategyPlugin):
    """Replays drawn features of old classes and holds the extractor where the features were taken."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})
    grows: ClassVar[bool] = True

    density: Literal["gaussian", "mog", "vae"] = "gaussian"  # of a class; mog: a mixture of Gaussians
    components: Width = 5  # of a mixture, at most; at least five samples each
    covariance: Literal["full", "diagonal"] = "full"  # of a Gaussian
    shrinkage: Share | None = None  # of covariances towards their mean variance, 0 to 1; None: Ledoit and Wolf's
    latent: Width = 16  # width of z in a vae
    vae_steps: Count = 500  # of Adam, in which a vae is fitted
    strength: Positive = 1.0  # lambda_fd, of the feature distillation; without effect where the extractor is frozen

    state: FeatureReplayState = field(default_factory=FeatureReplayState, init=False, repr=False)
    _densities: ClassDensities | None = field(default=None, init=False, repr=False)
    _factor: int = field(default=0, init=False, repr=False)
    _weights: Weights = field(default=NOTHING_REPLAYED, init=False, repr=False)
    _chance: torch.Generator = field(default_factory=torch.Generator, init=False, repr=False)

    def terms(self) -> Terms:
        """From the second experience on; ``drift`` if the extractor is trained."""
        return Terms(loss=("replay", "drift"))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """How much the old classes count, and which of them compete."""
        self._densities, self._factor, self._weights = None, 0, NOTHING_REPLAYED
        if not self.state.densities:
            return
        self._densities = ClassDensities(self.state.densities)
        classes, first = len(learner.current.label_space), len(learner.seen[0].label_space)
        self._factor = old_factor(first, classes, len(learner.seen) - 1)
        self._weights = by_classes(self._factor)
        self._chance = learner.generator("feature_replay")

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        """The extractor is distilled in evaluation mode."""
        if self._densities is not None:
            learner.model.backbone.eval()

    def objective(self, learner: Learner) -> Tensor:
        """``CE_new / (k + 1)``."""
        return self._weights.new * learner.criterion()

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``k / (k + 1) CE_replay`` and ``strength k |phi - phi_old|_2``; nothing in the first experience."""
        if self._densities is None:
            return {}
        terms = {"replay": self._weights.replayed * self._replayed_loss(learner, self._densities)}
        present = learner.output.present
        features = joined(learner.output.features, present)
        if features.requires_grad:
            old = joined(learner.teacher("previous").output(learner.batch).features, present)
            terms["drift"] = self.strength * self._factor * drift(features, old)
        return terms

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Fit the densities of this experience's classes to what the extractor that is handed over makes of them."""
        seed = int(torch.randint(2**31, (), generator=learner.generator("feature_replay", "fit")))
        with auxiliary_pass(learner.model), torch.no_grad():
            batches = learner.one_pass(learner.current.samples)
            outputs = ((batch, learner.model.encode(batch.inputs)) for batch in batches)
            passed = ((batch, output.features, output.present) for batch, output in outputs)
            fitted = fit_classes(passed, self._fit(seed))
        self.state.densities = [*self.state.densities, *fitted]

    def _fit(self, seed: int) -> Callable[[Tensor], Density]:
        if self.density == "vae":
            return partial(fit_vae, latent=self.latent, steps=self.vae_steps, seed=seed)
        components = self.components if self.density == "mog" else 1
        diagonal = self.covariance == "diagonal"
        return partial(fit, components=components, diagonal=diagonal, shrinkage=self.shrinkage, seed=seed)

    def _replayed_loss(self, learner: Learner, densities: ClassDensities) -> Tensor:
        """The task loss of drawn features."""
        drawn = densities.draw(len(learner.batch.targets), learner.output.features, self._chance)
        return loss_of_drawn(learner, drawn, densities.task_ids)
