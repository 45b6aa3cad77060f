"""Distillation, of a kind, in a form and from a teacher of your choice.

Paper: Hinton et al., arXiv:1503.02531, 2015 (logits); Park et al., CVPR 2019 (distances and angles); the other forms as
they stand in the released code that is named behind them.
Idea: a teacher's view of the inputs is a second target. What of it is kept is one choice, whose view it is another.
Equation: ``L = L_task + strength * loss(student, teacher)`` on the samples of the batch, with these forms by kind:
- logits: ``kl``, ``KL(p || q)`` of softmaxes at temperature T (avalanche's LwF); ``ce``, ``-sum p log q`` (PyCIL's
  LwF), the same gradient and another value. Over the active classes alone, mean over samples.
- feature: ``mse``, squared differences of unit features (an option of ZSCL's code), mean over all entries; ``cosine``,
  ``1 - cos`` (LUCIR); ``dimensions``, KL of softmaxes over the dimensions (LwF of the VLCP baselines); ``length``, the
  Euclidean length of the difference.
- relation: ``cross``, KL of image-text similarity rows in both directions, and ``same``, KL of similarity rows within a
  modality (both CTP); ``gram``, squared differences of matrices of cosines; ``distance`` and ``angle`` (Park et al.).
All but ``cross`` look at one modality; the mean over those that ``features`` names counts, each on the samples that
have it. Stored features: at the end of an experience ``samples`` of its samples are kept with the features they have
then, and each step compares ``per_experience`` of them from every earlier experience, un-augmented, with the student's
features.
Kept between experiences: with stored features the samples and, slot by slot, their features; they are never refreshed.
Deviations: this is a construction kit; where a paper's method is a strategy of its own, take that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin, Terms
from mmcl.learning.teachers import CompatibleMomentum, Initial, Interpolated, Momentum, Policy, Previous
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import full_precision
from mmcl.options import Count, NonNegative, Positive, Share, Width, check_options
from mmcl_strategies.maths.distillation import soft_cross_entropy, unit_rows
from mmcl_strategies.maths.feature_distillation import (
    cosine_distance,
    dimension_divergence,
    mean_distance,
    mean_squared,
)
from mmcl_strategies.maths.relation_distillation import (
    angle_huber,
    cross_modal_divergence,
    distance_huber,
    gram_mse,
    same_modality_divergence,
)
from mmcl_strategies.shared.choices import require
from mmcl_strategies.shared.stored_features import StoredFeatures, drawn_slots, recalled, remember

FUSED = "fused"
Loss = Callable[[Tensor, Tensor], Tensor]

FORMS: Mapping[str, tuple[str, ...]] = {
    "logits": ("kl", "ce"),
    "feature": ("mse", "cosine", "dimensions", "length"),
    "relation": ("cross", "same", "gram", "distance", "angle"),
}
TEMPERATURES: Mapping[str, float] = {"kl": 2.0, "ce": 2.0, "dimensions": 0.07, "cross": 0.07, "same": 0.07}
Teacher = Literal["initial", "previous", "interpolated", "momentum", "compatible", "stored"]
TEACHERS: Mapping[str, Policy] = {
    "initial": Initial(),
    "previous": Previous(),
    "interpolated": Interpolated(),
    "momentum": Momentum(),
    "compatible": CompatibleMomentum(),
}


@dataclass(kw_only=True, eq=False)
class Distill(StrategyPlugin):
    """Adds one distillation loss."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.PAIRS})

    kind: Literal["logits", "feature", "relation"] = "logits"  # what is compared
    form: str | None = None  # how: a form of the kind; none: its first one
    teacher: Teacher = "previous"  # initial, previous, interpolated, momentum, compatible or stored (features)
    strength: NonNegative = 1.0  # lambda
    first: bool = True  # in the first experience too, when the previous model is the pre-trained one
    temperature: Positive | None = None  # T, of forms with a softmax; none: 2 for logits, 0.07 otherwise
    squared_temperature: bool = False  # times T^2, of forms with a softmax
    reduction: Literal["mean", "sum"] = "mean"  # the sum is the mean times the number of samples
    classes: Literal["old", "all"] = "old"  # of logits: those of earlier experiences, or all that compete in the batch
    features: Literal["each", "fused", "image", "text"] = "each"  # modalities of the samples, or what the head sees
    normalize: bool | None = None  # unit rows first; none: for mse only, as the sources of the forms do
    mask_own: bool = True  # of same: leave out how similar a sample is to itself
    rate: Share | None = None  # of momentum (none: 0.995) and compatible (0.9) teachers: share of their own past
    share: Share | None = None  # of interpolated (none: 0.8) and compatible (0.5) teachers: of the handed-over weights
    samples: Count = 500  # of each experience, for stored features
    per_experience: Width = 8  # of these, compared in a step

    state: StoredFeatures = field(default_factory=StoredFeatures, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        check_options(self, "distill")
        forms = FORMS[self.kind]
        require(self.form is None or self.form in forms, "distill.form", self.form, ", ".join(forms))
        without_scores = (self.kind, self.teacher) == ("logits", "stored")
        require(not without_scores, "distill.teacher", "stored", "models: stored features have no scores")
        soft = self._form in TEMPERATURES or not self.squared_temperature
        forms_with_one = f"false, unless the form is one of {', '.join(TEMPERATURES)}"
        require(soft, "distill.squared_temperature", self.squared_temperature, forms_with_one)
        _ = self.teachers

    @property
    def grows(self) -> bool:
        """With stored features, and with the old classes."""
        return self.teacher == "stored" or (self.kind, self.classes) == ("logits", "old")

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """The model that is read, unless features are stored."""
        return frozenset() if self.teacher == "stored" else frozenset({self._policy})

    def requirements(self) -> frozenset[Need]:
        """Logits are those of classes; similarity between the modalities needs pairs."""
        return frozenset({Need.CLASSES} if self.kind == "logits" else {Need.PAIRS} if self._form == "cross" else ())

    def terms(self) -> Terms:
        """One term, called as the kind is."""
        return Terms(loss=(self.kind,))

    def memory_budget(self) -> MemoryBudget:
        """No limit with stored features: ``samples`` of every experience."""
        return MemoryBudget(samples=None if self.teacher == "stored" else 0)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The loss under the name of its kind; nothing where there is nothing to compare."""
        if not self.first and learner.current is learner.seen[0]:
            return {}
        if self.kind == "logits":
            loss, rows = self._of_logits(learner)
        elif self.teacher == "stored":
            loss, rows = self._of_stored(learner)
        else:
            student = self._views(learner.output)
            teacher = self._views(learner.teacher(self._policy).output(learner.batch))
            loss, rows = self._of_features(student, teacher, learner.output.present)
        if loss is None:
            return {}
        if self.squared_temperature:
            loss = loss * self._temperature**2
        return {self.kind: self.strength * (loss * rows if self.reduction == "sum" else loss)}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Keep samples with the features that they have now."""
        if self.teacher != "stored":
            return
        generator = learner.generator("distill", "memory")
        remember(self.state, learner, self.samples, lambda x: self._views(learner.model.encode(x)), generator)

    def _of_logits(self, learner: Learner) -> tuple[Tensor | None, int]:
        assert learner.output.logits is not None
        space = learner.label_space if self.classes == "all" else self._old_classes(learner)
        if not len(space):
            return None, 0
        teacher, inputs = learner.teacher(self._policy), learner.batch.inputs
        with torch.no_grad():
            answers = full_precision(teacher.model.score(teacher.output(learner.batch), inputs, space))
        scores = full_precision(learner.model.score(learner.output, inputs, space))
        loss = soft_cross_entropy(scores, answers, self._temperature, divergence=self._form == "kl")
        return loss, len(scores)

    def _of_stored(self, learner: Learner) -> tuple[Tensor | None, int]:
        generator = learner.generator("distill", learner.step)
        tasks = [record["task_id"] for record in self.state.records]
        if not (slots := drawn_slots(tasks, self.per_experience, generator)):
            return None, 0
        batch, teacher = recalled(self.state, learner, slots)
        output = learner.encode(batch.inputs)
        return self._of_features(self._views(output), teacher, output.present)

    def _of_features(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[Tensor | None, int]:
        """The loss between two views of the same samples, and of how many samples it is the mean."""
        if self._form == "cross":
            there = present[IMAGE] & present[TEXT]
            new, old = ([view[name][there] for name in (IMAGE, TEXT)] for view in (student, teacher))
            if not len(new[0]):
                return None, 0
            return cross_modal_divergence(new[0], new[1], old[0], old[1], self._temperature), len(new[0])
        losses, most = [], 0
        for name, features in student.items():
            there = present.get(name, torch.ones(len(features), dtype=torch.bool, device=features.device))
            pair = features[there], teacher[name][there]
            if len(pair[0]):
                losses.append(self._loss(*(map(unit_rows, pair) if self._unit else pair)))
                most = max(most, len(pair[0]))
        return (torch.stack(losses).mean() if losses else None), most

    def _views(self, output: Output) -> dict[str, Tensor]:
        """The features that are compared, by name."""
        if self.features == FUSED and self._form != "cross":
            return {FUSED: full_precision(output.fused)}
        every = self.features == "each" or self._form == "cross"
        return {n: full_precision(rows) for n, rows in output.features.items() if every or n == self.features}

    def _old_classes(self, learner: Learner) -> LabelSpace:
        """The classes of the earlier experiences."""
        return learner.classes_of(met.index for met in learner.seen if met.index != learner.current.index)[0]

    @property
    def _form(self) -> str:
        return self.form or FORMS[self.kind][0]

    @property
    def _policy(self) -> Policy:
        policy = TEACHERS[self.teacher]
        chosen = {f.name: getattr(self, f.name, None) for f in fields(policy)}  # type: ignore[arg-type]
        return replace(policy, **{name: value for name, value in chosen.items() if value is not None})  # type: ignore[type-var]

    @property
    def _temperature(self) -> float:
        return TEMPERATURES.get(self._form, 1.0) if self.temperature is None else self.temperature

    @property
    def _unit(self) -> bool:
        return self._form == "mse" if self.normalize is None else self.normalize

    @property
    def _loss(self) -> Loss:
        losses: Mapping[str, Loss] = {
            "mse": mean_squared,
            "cosine": cosine_distance,
            "dimensions": partial(dimension_divergence, temperature=self._temperature),
            "length": mean_distance,
            "same": partial(same_modality_divergence, temperature=self._temperature, mask_own=self.mask_own),
            "gram": gram_mse,
            "distance": distance_huber,
            "angle": angle_huber,
        }
        return losses[self._form]
