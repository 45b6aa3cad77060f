"""KDR: knowledge decomposition and replay, for image-text retrieval.

Paper: Yang et al., "Knowledge Decomposition and Replay: A Novel Cross-modal Image-Text Retrieval Continual Learning
Method", ACM Multimedia 2023; the released code decides.
Idea: split knowledge into a shared part, trained throughout, and a private gate per experience on top of frozen
backbones; keep a few old pairs with the shared features they had, and let the new shared space reproduce their
similarities.
Computation: ``shared_image = S(E(f(x)))``, ``shared_text = S(g(y))`` with the trained towers f, g; ``gate_image =
sigmoid(P_k(leaky(B_k(leaky(A_k(f_0(x)))))))``, ``gate_text = sigmoid(Q_k(g_0(y)))`` with frozen copies of the towers;
the embedding is ``H_k(shared * gate)``. S and H_k are common to both modalities; A, B, P, Q, H belong to experience k.
Equations: with S_ij the cosines of a batch and ``margin`` m, the task loss is ``sum_i max_j [m + S_ij - S_ii]_+ +
sum_j max_i [m + S_ij - S_jj]_+``, a sum over the batch with the hardest negative of each row and column. Replay adds
``strength * mean over K*K entries of q (log q - log p)``, q and p softmaxes over the images of ``(1 + u v^T) / 2`` with
the shared features that K remembered pairs have now and had then: KL(now || then), features not normalised.
Kept between experiences: ``samples`` random pairs of each, slot by slot with their shared features under the model that
ended the experience; they are never refreshed. The private parts, in the model. Each step compares ``per_experience``
pairs of every earlier experience, the same slot numbers in each.
Deviations: the towers are CLIP's with their pooled features instead of ViT class scores and BERT first tokens, so all
layers map their width to itself; one optimiser trains shared and private parts, as both have the same rate. Not taken
over from the release: features stored in another order than the pairs, and choosing the epoch on the test split. A
sample whose experience has no private part yet is embedded by the backbone alone.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin, Terms
from mmcl.objectives.likelihoods import full_precision
from mmcl.options import Count, NonNegative, Positive, Width
from mmcl_strategies.maths.distillation import unit_rows
from mmcl_strategies.replay.decomposed_head import DecomposedHead
from mmcl_strategies.shared.stored_features import StoredFeatures, drawn_slots, recalled, remember


def hardest_hinge(image: Float[Tensor, "B D"], text: Float[Tensor, "B D"], margin: float) -> Float[Tensor, ""]:
    """Hinge with the hardest negative in each direction, summed over the batch; raw features."""
    scores = unit_rows(image) @ unit_rows(text).T
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    right = scores.diagonal()
    of_texts = (margin + scores - right[:, None]).clamp(min=0).masked_fill(own, 0.0)
    of_images = (margin + scores - right[None, :]).clamp(min=0).masked_fill(own, 0.0)
    return of_texts.max(dim=1).values.sum() + of_images.max(dim=0).values.sum()


def replay_divergence(
    image: Float[Tensor, "K D"],
    text: Float[Tensor, "K D"],
    old_image: Float[Tensor, "K D"],
    old_text: Float[Tensor, "K D"],
    temperature: float,
    *,
    normalize: bool = False,
    direction: Literal["new", "old"] = "new",
) -> Float[Tensor, ""]:
    """``mean over K*K entries`` of the divergence between similarity columns now and then, softmax over the images.

    Args:
        image, text: shared features now.
        old_image, old_text: stored features of the same pairs, detached here.
        temperature: of the softmaxes of ``(1 + u v^T) / 2``.
        normalize: take cosines instead of inner products.
        direction: ``new``: KL(now || then); ``old``: KL(then || now).
    """
    rows = [unit_rows(part) if normalize else part for part in (image, text, old_image.detach(), old_text.detach())]
    new, old = ((1 + u @ v.T) / 2 / temperature for u, v in (rows[:2], rows[2:]))
    log_new, log_old = new.log_softmax(dim=0), old.log_softmax(dim=0)
    first, second = (log_new, log_old) if direction == "new" else (log_old, log_new)
    return (first.exp() * (first - second)).mean()


@dataclass(kw_only=True, eq=False)
class KDR(StrategyPlugin):
    """Decomposes embeddings into shared and private parts and replays shared similarities."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.PAIRS, Need.TASK_ID})
    teachers: ClassVar[frozenset[str]] = frozenset({"initial"})
    order: ClassVar[Order] = "in turn"
    grows: ClassVar[bool] = True

    margin: Positive = 0.2  # m
    strength: NonNegative = 0.1  # of the replay loss
    temperature: Positive = 1.0  # of the similarities of remembered pairs
    normalize: bool = False  # cosines of remembered pairs instead of inner products
    direction: Literal["new", "old"] = "new"  # KL(now || then), or KL(then || now)
    samples: Count = 500  # pairs remembered of each experience
    per_experience: Width = 8  # of these, compared in a step

    state: StoredFeatures = field(default_factory=StoredFeatures, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(loss=("replay",))

    def memory_budget(self) -> MemoryBudget:
        """No limit: ``samples`` of every experience."""
        return MemoryBudget(samples=None)

    def adapt_model(self, learner: Learner) -> None:
        """Put the decomposition on top of the backbone, beside the one that the learner keeps as it was."""
        width = learner.model.backbone.width
        learner.model.head = DecomposedHead(width, lambda: learner.teacher("initial").model.backbone)

    def objective(self, learner: Learner) -> Tensor:
        """The hinge on the embeddings of the batch."""
        features = learner.output.features
        return hardest_hinge(features[IMAGE], features[TEXT], self.margin)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The shared similarities of remembered pairs against those they had."""
        tasks = [record["task_id"] for record in self.state.records]
        slots = drawn_slots(tasks, self.per_experience, learner.generator("kdr", learner.step))
        if not slots:
            return {}
        batch, old = recalled(self.state, learner, slots)
        new = _shared(learner, batch.inputs)
        divergence = replay_divergence(
            new[IMAGE],
            new[TEXT],
            old[IMAGE],
            old[TEXT],
            self.temperature,
            normalize=self.normalize,
            direction=self.direction,
        )
        return {"replay": self.strength * divergence}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Remember pairs of this experience with the shared features they have now."""
        generator = learner.generator("kdr", "memory")
        remember(self.state, learner, self.samples, lambda inputs: _shared(learner, inputs), generator)


def _shared(learner: Learner, inputs: Inputs) -> dict[str, Tensor]:
    model = learner.model
    assert isinstance(model.head, DecomposedHead)
    with model.computing():
        shared: dict[str, Tensor] = model.head.shared(
            {name: found.pooled for name, found in model.backbone.encode(inputs).features.items()}
        )
    return {name: full_precision(rows) for name, rows in shared.items()}
