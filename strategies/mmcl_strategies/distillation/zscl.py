"""ZSCL: zero-shot continual learning.

Paper: Zheng et al., "Preventing Zero-Shot Transfer Degradation in Continual Learning of Vision-Language Models",
ICCV 2023; the released code (mtil tree) decides where it differs from the paper.
Idea: keep the feature space by giving, on unrelated and unlabelled reference data, the same image-text similarities as
the pre-trained model; keep the weights near the start of the task; hand over the mean of the weights met on the way.
Equations, with s, t the unit image features of student and pre-trained teacher on N reference images, w the
*teacher's* unit features of M reference texts and c the logit scale: ``Z_s = c s w^T``, ``Z_t = c t w^T``,
``D(A, B) = T^2 mean_rows(-sum softmax(A/T) log softmax(B/T))``,
``L = L_task + image_weight D(Z_t, Z_s) + text_weight D(Z_t^T, Z_s^T) + consolidation sum (theta - theta_start)^2``.
Every ``average_every`` steps, the first included, the weights join a plain mean that began with the start weights; the
mean is what is evaluated and handed over. Training itself goes on from the unaveraged weights.
Kept between experiences: the handed-over weights and, for ever, the pre-trained teacher. No state of its own.
Variants of the authors: ``consolidation = 0`` is ZSCL* (starred); that and ``average_every = 0`` is "minus", which
also has class prompts as reference texts. The class-incremental code has both weights at 5, ``average_every = 10`` and
``consolidation = 0``. Options of the code that its released runs leave off: ``image_image_weight``,
``feature_weight``, ``teacher = "interpolated"``, and ``alpha`` below 1 (called WE + WiSE).
Deviations: the consolidation is added on the gradient side after the backward pass, which gives the same update. The
teacher's features are kept, as its weights and the reference preprocessing do not change: those of all texts, and those
of all images where an experience draws more than there are. Parameters are averaged; buffers, which transformers have
none of that learn, stay those of the last step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Batch, Inputs
from mmcl.learning.compose import Need
from mmcl.learning.strategy import GradientValues, Learner, StrategyPlugin, Terms
from mmcl.learning.teachers import Initial, Interpolated, Policy, Teacher
from mmcl.options import Natural, NonNegative, Positive, Share, Width
from mmcl_strategies.maths.averaging import add_consolidation_gradient, anchored_running_mean, weight_consolidation
from mmcl_strategies.maths.distillation import (
    image_image_term,
    image_term,
    logits_by_unit_keys,
    text_term,
    unit_rows,
)
from mmcl_strategies.maths.feature_distillation import mean_squared
from mmcl_strategies.shared.reference import reference_for

_CHUNK = 512  # texts encoded at once


@dataclass(kw_only=True, eq=False)
class ZSCL(StrategyPlugin):
    """Distils the pre-trained similarities on reference data, consolidates and averages the weights."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.REFERENCE_DATA})
    temperature: Positive = 2.0  # T
    image_weight: NonNegative = 1.0  # lambda of D(Z_t, Z_s); 5 in the authors' class-incremental code
    text_weight: NonNegative = 1.0  # lambda of the transposed term
    image_image_weight: NonNegative = 0.0  # option of the code, off in all released runs
    feature_weight: NonNegative = 0.0  # mean squared difference of unit image features, an option of the code
    consolidation: NonNegative = 1.0  # weight of the plain sum of squared weight changes
    average_every: Natural | None = None  # steps between snapshots; 0: no averaging; None: a tenth, as 100 of 1,001 are
    alpha: Share = 1.0  # of the mean at every snapshot; the rest goes back to the start weights (WE + WiSE)
    teacher: Literal["initial", "interpolated"] = "initial"  # pre-trained, or drawn to the handed-over weights
    teacher_share: Share = 0.8  # a, of the handed-over weights in an interpolated teacher
    batch_size: Width | None = None  # reference images a step; None: as many as training images
    reference: str | None = None  # folder with images/ and captions.txt; None: the benchmark's reference data

    _data: ReferenceData | None = field(default=None, init=False, repr=False)
    _parameters: dict[str, nn.Parameter] = field(default_factory=dict, init=False, repr=False)
    _anchor: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _average: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _every: int = field(default=0, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)
    _step: int = field(default=0, init=False, repr=False)
    _stream: Iterator[Batch] = field(default_factory=lambda: iter(()), init=False, repr=False)
    _teacher: Teacher | None = field(default=None, init=False, repr=False)
    _keys: Tensor | None = field(default=None, init=False, repr=False)
    _table: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """The one of ``teacher``."""
        return frozenset({self._policy})

    @property
    def rewrites_weights(self) -> bool:
        """Only where weights are averaged."""
        return self.average_every != 0

    def requirements(self) -> frozenset[Need]:
        """Reference data of its own stand in for the benchmark's."""
        return self.needs if self.reference is None else self.needs - {Need.REFERENCE_DATA}

    def reference_data(self) -> ReferenceData | None:
        """Those of the folder ``reference``."""
        return None if self.reference is None else ReferenceData.from_folder(Path(self.reference))

    def terms(self) -> Terms:
        """Those that have a weight."""
        weights = {
            "image": self.image_weight,
            "text": self.text_weight,
            "image-image": self.image_image_weight,
            "feature": self.feature_weight,
        }
        return Terms(
            loss=tuple(name for name, weight in weights.items() if weight),
            gradient=("consolidation",) if self.consolidation else (),
        )

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Anchor and average start from the handed-over weights; the reference order starts anew."""
        self._parameters = dict(learner.model.shared_parameters())
        self._anchor = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._average, self._count, self._step = dict(self._anchor), 1, 0
        data = self._data = self._data or reference_for(self, "zscl", learner)
        steps, size = len(learner.dataloader), self.batch_size or learner.config.batch_size
        self._every = max(1, steps // 10) if self.average_every is None else self.average_every
        self._stream = iter(learner.batches(data.images, steps, batch_size=size, augment=False, name="zscl"))
        teacher = learner.teacher(self._policy)
        if teacher is not self._teacher:
            self._teacher, self._table = teacher, None
            self._keys = self._text_keys(learner, teacher, data)
        # decided by this experience alone: a run that is continued here must do the same, bit by bit
        if len(data.images) > steps * size:
            self._table = None
        elif self._table is None:
            batches = learner.one_pass(data.images)
            self._table = torch.cat([self._features_of_teacher(batch.inputs) for batch in batches])

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The distillation terms that have a weight, on the next reference batch."""
        batch = next(self._stream).to(learner.device)
        assert self._keys is not None
        assert self._teacher is not None
        student = learner.encode(_images(batch.inputs)).features[IMAGE]
        teacher = self._table[batch.targets] if self._table is not None else self._features_of_teacher(batch.inputs)
        scale = self._teacher.model.backbone.logit_scale
        z_student, z_teacher = (logits_by_unit_keys(features, self._keys, scale) for features in (student, teacher))
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "image": (self.image_weight, lambda: image_term(z_student, z_teacher, self.temperature)),
            "text": (self.text_weight, lambda: text_term(z_student, z_teacher, self.temperature)),
            "image-image": (
                self.image_image_weight,
                lambda: image_image_term(student, teacher, scale, self.temperature),
            ),
            "feature": (self.feature_weight, lambda: mean_squared(unit_rows(student), unit_rows(teacher))),
        }
        return {name: weight * term() for name, (weight, term) in terms.items() if weight}

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """The pull to the weights at the start of the experience."""
        if not self.consolidation:
            return {}
        parameters = self._parameters
        add_consolidation_gradient(parameters, self._anchor, self.consolidation)
        return {"consolidation": lambda: self.consolidation * weight_consolidation(parameters, self._anchor)}

    def after_update(self, learner: Learner, **_: object) -> None:
        """Every ``average_every`` steps, the first included, the weights join the mean."""
        if self._every and self._step % self._every == 0:
            weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
            self._average = anchored_running_mean(self._average, weights, self._anchor, self._count, self.alpha)
            self._count += 1
        self._step += 1

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Hand over the mean."""
        if self._every:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(self._average[name])
        self._parameters, self._anchor, self._average, self._stream = {}, {}, {}, iter(())

    @property
    def _policy(self) -> Policy:
        return Initial() if self.teacher == "initial" else Interpolated(self.teacher_share)

    @torch.no_grad()
    def _text_keys(self, learner: Learner, teacher: Teacher, data: ReferenceData) -> Tensor:
        """The teacher's unit features of all reference texts, ``[M, D]``; computed once for a teacher."""
        tokenize = teacher.model.backbone.tokenize
        chunks = [data.texts[start : start + _CHUNK] for start in range(0, len(data.texts), _CHUNK)]
        features = [teacher.model.encode_texts(tokenize(chunk).to(learner.device)) for chunk in chunks]
        return unit_rows(unit_rows(torch.cat(features)))  # once leaves lengths that are one but for rounding

    @torch.no_grad()
    def _features_of_teacher(self, inputs: Inputs) -> Tensor:
        """The teacher's image features ``[N, D]`` of reference images."""
        assert self._teacher is not None
        return self._teacher.model.encode(_images(inputs)).features[IMAGE]


def _images(inputs: Inputs) -> Inputs:
    """Reference images without the texts that every batch of a stream with texts has."""
    images = inputs.having(IMAGE)
    assert images is not None
    return images
