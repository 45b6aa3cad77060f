"""CTP: compatible momentum contrast with topology preservation.

Paper: Zhu et al., "CTP: Towards Vision-Language Continual Pretraining via Compatible Momentum Contrast and Topology
Preservation", ICCV 2023; the released code decides.
Idea: a slowly moving model that mixes the student with the previous experience's model supplies targets and a queue of
negatives for contrast; two relation losses copy the previous model's similarities across and within the modalities.
Equations, with i, x unit features of images and texts under the student, ``im, xm`` under the momentum model, ``ir,
xr`` under the previous one, and tau = ``temperature``, which is not trained:
``itc = [CE(i x^T / tau) + CE(x i^T / tau)] / 2``, in the place of the task loss,
``cmc = [CE(i [xm^T, Q_text] / tau) + CE(x [im^T, Q_image] / tau)] / 2``, the right column of row k is column k,
``cross = [KL(ir xr^T / tau || i x^T / tau) + KL(xr ir^T / tau || x i^T / tau)] / 2``,
``same = [KL(mask(ir ir^T) / tau || mask(i i^T) / tau) + the same for texts] / 2``, the mask takes out the own entry,
``L = itc + cmc_weight cmc`` in the first experience, ``+ cross_weight cross + same_weight same`` later on.
Momentum model, moved before its features are computed: ``theta_m <- m theta_m + (1 - m) (a theta_{t-1} + (1 - a)
theta)``, in the first experience ``first_momentum theta_m + (1 - first_momentum) theta``; it begins every experience as
a copy of the student. The queues take its features of the batch after the losses and the step.
Kept between experiences: the two queues; they begin as random unit columns and are never emptied.
Deviations: the authors' further terms, masked language modelling and its distillation from the momentum model, need a
fusion encoder; CLIP-like backbones have none, so the terms are dropped. For the same reason the features are those of
the backbone instead of projections of width 256. Queues may have any length: the oldest columns go, and a batch that is
longer leaves its last rows. Negatives come from one process, not from several devices.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.learning.teachers import CompatibleMomentum, Policy
from mmcl.objectives.likelihoods import pair_log_likelihood
from mmcl.options import NonNegative, Positive, Share, Width, check_options
from mmcl_strategies.maths.distillation import soft_cross_entropy, unit_rows
from mmcl_strategies.maths.relation_distillation import cross_modal_divergence, same_modality_divergence

Features = Float[Tensor, "B D"]
Queue = Float[Tensor, "D Q"]


def image_text_contrast(image: Features, text: Features, temperature: float) -> Float[Tensor, ""]:
    """``itc``: mean over pairs and both directions; raw features, pair n in row n."""
    return -pair_log_likelihood(image, text, image.new_tensor(1 / temperature)).mean()


def momentum_contrast(
    image: Features,
    text: Features,
    momentum_image: Features,
    momentum_text: Features,
    image_queue: Queue,
    text_queue: Queue,
    temperature: float,
) -> Float[Tensor, ""]:
    """``cmc``: each sample against the momentum features of the batch and of the queue, both directions halved.

    Args:
        image, text: raw features of the student.
        momentum_image, momentum_text: raw features, detached here.
        image_queue, text_queue: unit columns.
        temperature: tau.
    """
    right = torch.arange(len(image), device=image.device)
    losses = [
        functional.cross_entropy(
            unit_rows(own) @ torch.cat([unit_rows(other.detach()).T, queue], 1) / temperature, right
        )
        for own, other, queue in ((image, momentum_text, text_queue), (text, momentum_image, image_queue))
    ]
    return (losses[0] + losses[1]) / 2


def topology(
    image: Features, text: Features, old_image: Features, old_text: Features, temperature: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """``cross`` and ``same``; raw features of the student and of the previous model."""
    cross = cross_modal_divergence(image, text, old_image, old_text, temperature)
    same = same_modality_divergence(image, old_image, temperature) + same_modality_divergence(
        text, old_text, temperature
    )
    return cross, same / 2


def masked_token_losses(
    student_logits: Float[Tensor, "B L V"],
    momentum_logits: Float[Tensor, "B L V"],
    labels: Int[Tensor, "B L"],
    temperature: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """``mlm`` and ``mlm_distill`` of the authors' model, for backbones with a fusion encoder.

    Args:
        student_logits: of the fusion encoder.
        momentum_logits: of the momentum model, detached here.
        labels: the token to predict, -100 where none is masked.
        temperature: of the distillation; there is no factor ``T^2``.

    Returns:
        Mean cross-entropies over the masked positions, with the tokens and with the momentum model's distribution.
    """
    masked = labels != -100
    student = student_logits[masked]
    return (
        functional.cross_entropy(student, labels[masked]),
        soft_cross_entropy(student, momentum_logits[masked], temperature),
    )


def enqueue(queue: Queue, features: Features, position: int) -> tuple[Queue, int]:
    """Overwrite the oldest columns of a queue with unit features.

    Args:
        queue: unit columns.
        features: raw, with ``B <= Q``.
        position: the oldest column.

    Returns:
        The new queue, and the position of its oldest column.
    """
    columns = (position + torch.arange(len(features), device=queue.device)) % queue.shape[1]
    new = queue.index_copy(1, columns, unit_rows(features.detach()).T.to(queue))
    return new, (position + len(features)) % queue.shape[1]


@dataclass
class CTPState:
    """The queues of negatives, which outlive an experience."""

    queues: dict[str, Tensor] = field(default_factory=dict)  # by modality, [D, Q], unit columns
    position: int = 0  # of the oldest column of both


@dataclass(kw_only=True, eq=False)
class CTP(StrategyPlugin):
    """Contrasts with a compatible momentum model and keeps the previous model's topology."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.PAIRS})

    temperature: Positive = 0.07  # tau, fixed; of all losses
    cmc_weight: NonNegative = 1.0  # of the contrast with the momentum model
    cross_weight: NonNegative = 1.0  # of the cross-modality topology
    same_weight: NonNegative = 1.0  # of the same-modality topology
    momentum: Share = 0.9  # m, from the second experience on
    share: Share = 0.5  # a, of the previous weights in what joins the momentum model
    first_momentum: Share = 0.995  # m in the first experience, without previous weights
    queue: Width = 1024  # Q, columns of each queue

    state: CTPState = field(default_factory=CTPState, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers and, by making it, the momentum policy."""
        check_options(self, "ctp")
        _ = self._momentum

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """The momentum model and the previous one."""
        return frozenset({self._momentum, "previous"})

    def terms(self) -> Terms:
        """Those of the first experience, then the topology."""
        return Terms(loss=("cmc", "cross", "same"))

    def adapt_model(self, learner: Learner) -> None:
        """Fill the queues with random unit columns."""
        width, generator = learner.model.backbone.width, learner.generator("ctp")
        for name in (IMAGE, TEXT):
            random = torch.randn(width, self.queue, generator=generator)
            self.state.queues[name] = functional.normalize(random, dim=0).to(learner.device)

    def objective(self, learner: Learner) -> Tensor:
        """The contrast of images and texts with the momentum model, ``itc``."""
        features = learner.output.features
        return image_text_contrast(features[IMAGE], features[TEXT], self.temperature)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``cmc`` with the queues as they were before this batch; from the second experience on the topology."""
        new, moving = learner.output.features, learner.teacher(self._momentum).output(learner.batch).features
        cmc = momentum_contrast(
            new[IMAGE],
            new[TEXT],
            moving[IMAGE],
            moving[TEXT],
            self.state.queues[IMAGE],
            self.state.queues[TEXT],
            self.temperature,
        )
        if learner.current is learner.seen[0]:
            return {"cmc": self.cmc_weight * cmc}
        old = learner.teacher("previous").output(learner.batch).features
        cross, same = topology(new[IMAGE], new[TEXT], old[IMAGE], old[TEXT], self.temperature)
        return {
            "cmc": self.cmc_weight * cmc,
            "cross": self.cross_weight * cross,
            "same": self.same_weight * same,
        }

    def after_update(self, learner: Learner, **_: object) -> None:
        """The momentum features of the batch join the queues."""
        features, begin = learner.teacher(self._momentum).output(learner.batch).features, self.state.position
        for name, queue in self.state.queues.items():
            self.state.queues[name], self.state.position = enqueue(queue, features[name][-self.queue :], begin)

    @property
    def _momentum(self) -> CompatibleMomentum:
        return CompatibleMomentum(self.momentum, self.share, self.first_momentum)
