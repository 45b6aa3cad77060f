"""Mod-X: maintain the off-diagonal information matrix.

Paper: Ni et al., "Continual Vision-Language Representation Learning with Off-Diagonal Information", ICML 2023; the code
that the first author released later decides.
Idea: trained on new pairs, the spaces of images and texts turn, and they turn differently. Keep the whole row of
similarities of every sample that the previous model still matches with its partner.
Equations: ``M`` and ``O`` hold the cosines ``[B, B]`` of the images and texts of a batch under the current and the
previous model. Row i of ``O`` is kept iff its largest entry is at column i. ``KL_it = sum over kept rows of
KL(softmax(O_i) || softmax(M_i))``, and ``KL_ti`` the same with ``M^T``, ``O^T`` and their own kept rows;
``L = L_task + strength (KL_it + KL_ti) / 2``, ``L_task`` being CLIP's contrastive loss. No logit scale, no temperature,
the diagonal included.
The divergences are sums over the batch, not means, so what a strength weighs against the task loss, a mean, depends on
the batch. The authors' 20 belongs to batches of 280 pairs (70 on each of 4 devices); by default B pairs have the
strength ``20 * 280 / B``, the authors' weight on a batch of any size. A number is alpha as their code has it.
The logit scale is trained, unless somebody has chosen what the training settings freeze, and kept between 1
and 100 after every step.
Kept between experiences: nothing but the weights; the teacher is the model that the last experience handed over.
Deviations: in the first experience the teacher is the pre-trained model, as the authors' second phase has the model of
the first; ``first = false`` leaves the first experience to the task loss, for models that have not been trained before.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.options import NonNegative
from mmcl_strategies.maths.distillation import unit_rows

PUBLISHED, PAIRS = 20.0, 280  # the authors' alpha and the pairs of their batches
LARGEST_SCALE = math.log(100)  # of CLIP, as the stored logarithm


class Alignment(NamedTuple):
    """Both directions of the alignment with the previous model.

    Attributes:
        image_to_text: ``KL_it``.
        text_to_image: ``KL_ti``.
    """

    image_to_text: Float[Tensor, ""]
    text_to_image: Float[Tensor, ""]


def kept_rows(scores: Float[Tensor, "B B"]) -> Bool[Tensor, " B"]:
    """Which rows have their largest entry on the diagonal; of equal ones the first."""
    return scores.argmax(dim=1) == torch.arange(len(scores), device=scores.device)


def screened_divergence(scores: Float[Tensor, "B B"], answer: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """``sum over kept rows of KL(softmax(answer) || softmax(scores))``.

    Args:
        scores: of the current model.
        answer: of the previous model, detached here; decides which rows are kept.
    """
    answer = answer.detach()
    log_student, log_teacher = scores.log_softmax(dim=1), answer.log_softmax(dim=1)
    rows = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)
    return rows.masked_fill(~kept_rows(answer), 0.0).sum()


def alignment(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "B D"],
    old_image: Float[Tensor, "B D"],
    old_text: Float[Tensor, "B D"],
) -> Alignment:
    """Both screened divergences between the cosines of a batch; raw features, pair n in row n."""
    scores, answer = unit_rows(image) @ unit_rows(text).T, unit_rows(old_image) @ unit_rows(old_text).T
    return Alignment(screened_divergence(scores, answer), screened_divergence(scores.T, answer.T))


@dataclass(kw_only=True, eq=False)
class ModX(StrategyPlugin):
    """Keeps the similarity rows of pairs that the previous model matches."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.PAIRS})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})

    strength: NonNegative | None = None  # alpha, of a sum over the batch; None: 20 x 280 / pairs, as the authors have
    first: bool = True  # align with the pre-trained model in the first experience
    train_logit_scale: bool = True  # although backbones have it frozen by default

    _scales: tuple[str, ...] = field(default=(), init=False, repr=False)

    def terms(self) -> Terms:
        """One for each direction."""
        return Terms(loss=("image-to-text", "text-to-image"))

    def adapt_model(self, learner: Learner) -> None:
        """Let the logit scale be trained, unless the user has frozen it."""
        scales = {n: p for n, p in learner.model.named_parameters() if n.split(".")[-1] == "logit_scale"}
        if self.train_logit_scale and not learner.chose("freeze"):
            for scale in scales.values():
                scale.requires_grad_(True)
        self._scales = tuple(name for name, scale in scales.items() if scale.requires_grad)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The alignment of the current batch with the previous model."""
        if not self.first and learner.current is learner.seen[0]:
            return {}
        new, old = learner.output.features, learner.teacher("previous").output(learner.batch).features
        found = alignment(new[IMAGE], new[TEXT], old[IMAGE], old[TEXT])
        strength = PUBLISHED * PAIRS / len(new[IMAGE]) if self.strength is None else self.strength
        return {
            "image-to-text": strength / 2 * found.image_to_text,
            "text-to-image": strength / 2 * found.text_to_image,
        }

    def after_update(self, learner: Learner, **_: object) -> None:
        """Keep the logit scale between 1 and 100."""
        with torch.no_grad():
            for name in self._scales:
                learner.model.get_parameter(name).clamp_(0.0, LARGEST_SCALE)
