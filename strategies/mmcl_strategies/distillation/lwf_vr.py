"""LwF-VR: learning without forgetting with a replayed vocabulary.

Paper: Ding et al., "Don't Stop Learning: Towards Continual Learning for the CLIP Model", arXiv:2207.09248, 2022. Its
own repository holds no code; the released code of ZSCL (mtil tree), which compares with it, decides.
Idea: distil the previous model's image-text similarities with random sentences as texts, so that the whole text space
is touched and not only the classes of the day.
Equations: with s, t the unit image features of student and previous model, w the *previous* model's unit features of
the sentences and c the logit scale, ``Z_s = c s w^T``, ``Z_t = c t w^T``,
``D(A, B) = T^2 mean_rows(-sum softmax(A/T) log softmax(B/T))``,
``L = L_task + strength (D(Z_t, Z_s) + D(Z_t^T, Z_s^T))``.
Computation: the images are those of the current experience, in a second order of their own and un-augmented, not the
batch of the task loss. A sentence is the start token, ``length`` token ids uniform over the whole vocabulary, the end
token, and padding; special tokens are drawn too, so that a few sentences end early. ``sentences`` of them are drawn
once per experience. In the first experience the previous model is the pre-trained one, and distillation is active.
Kept between experiences: nothing but the weights.
Deviations: none known. Experiences without images have no terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.multimodal import MultimodalModel
from mmcl.options import Count, NonNegative, Positive, Width
from mmcl_strategies.maths.distillation import contrast_logits, image_term, text_term, unit_rows
from mmcl_strategies.maths.sentences import sentences_of
from mmcl_strategies.shared.choices import require

_CHUNK = 512  # sentences encoded at once


@dataclass(kw_only=True, eq=False)
class LwFVR(StrategyPlugin):
    """Distils the previous model's answers on images of the experience and random sentences."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})

    strength: NonNegative = 1.0  # of both terms; 5 in the class-incremental code of ZSCL
    temperature: Positive = 2.0  # T
    sentences: Count = 1000  # n, drawn once per experience
    length: Width = 10  # L, random tokens between the start and the end of a sentence
    batch_size: Width | None = None  # images a step; None: as many as in a training batch

    _stream: Iterator[Batch] = field(default_factory=lambda: iter(()), init=False, repr=False)
    _keys: Tensor | None = field(default=None, init=False, repr=False)

    def terms(self) -> Terms:
        """One term for each direction of distillation."""
        return Terms(loss=("image", "text"))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Draw the sentences of this experience and a second order of its images."""
        modalities = learner.current.modalities_of_stream
        require(IMAGE in modalities, "lwf_vr", sorted(modalities), "streams with images")
        model = learner.teacher("previous").model
        size, generator = model.backbone.vocabulary.size, learner.generator("lwf_vr", "sentences")
        ids = torch.randint(size, (self.sentences, self.length), generator=generator)
        self._keys = self._encoded(model, ids.to(learner.device))
        self._stream = iter(
            learner.batches(
                learner.current.samples,
                len(learner.dataloader),
                batch_size=self.batch_size,
                augment=False,
                name="lwf_vr",
            )
        )

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``image`` (each image over the sentences) and ``text`` (each sentence over the images)."""
        images = next(self._stream).to(learner.device).inputs.having(IMAGE)
        if images is None:
            return {}
        assert self._keys is not None
        teacher = learner.teacher("previous").model
        student = learner.encode(images).features[IMAGE]
        with torch.no_grad():
            answers = contrast_logits(teacher.encode(images).features[IMAGE], self._keys, teacher.backbone.logit_scale)
        logits = contrast_logits(student, self._keys, teacher.backbone.logit_scale)
        return {
            "image": self.strength * image_term(logits, answers, self.temperature),
            "text": self.strength * text_term(logits, answers, self.temperature),
        }

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Let go of the loader."""
        self._stream = iter(())

    @torch.no_grad()
    def _encoded(self, model: MultimodalModel, ids: Tensor) -> Tensor:
        """The previous model's unit features of the sentences, ``[n, D]``."""
        backbone = model.backbone
        sentences = sentences_of(ids, backbone.vocabulary, backbone.specs[TEXT].shape[0])
        return unit_rows(torch.cat([model.encode_texts(chunk) for chunk in sentences.split(_CHUNK)]))
