"""iCaRL: nearest mean of exemplars on a representation that is replayed and distilled.

Paper: Rebuffi, Kolesnikov, Sperl and Lampert, CVPR 2017. Official code: srebuffi/iCaRL.
Idea: keep few samples of each class whose mean stays close to the mean of the class, train the representation on new
data and on these exemplars with the previous model's answers, and classify by the nearest mean of exemplars, which
follows the representation by itself.
Equation: independent sigmoids ``g_y(x)``, one linear unit per class seen, and binary cross-entropy, averaged over
samples and classes: new columns learn the label, old columns the previous model's ``g_y(x)``, for every sample, also
for exemplars of old classes. ``loss = "ce_kd"`` is the variant of PyCIL and CEAR: softmax cross-entropy plus
distillation of the old columns at temperature T. At evaluation ``argmin_y || norm(phi(x)) - mu_y ||^2``.
After training, in this order: m = K // classes seen; old lists are cut to their first m; m exemplars of each new class
are herded with the new network; all means ``mu_y = norm(mean norm(phi(p)))`` are computed anew.
Kept between experiences: the exemplars, whole un-augmented samples by value with all their modalities, in order of
priority. The means are buffers of the head. The teacher is the model that the last experience handed over.
Modalities: phi is the fusion of what is present in a sample, in evaluation mode; ``flip`` mirrors images only.
Deviations: herding takes no sample twice (the paper does not say, the authors' code skips repeats but lets them move
the target). The mean that herding follows is not normalised again, as in the authors' and PyCIL's code; the text of the
paper and van de Ven's code do that, and so does ``normalise_mean``. The authors average over all 100 units from the
start, here over the classes seen. phi is normalised where means are compared, not below the linear units. A class that
returns, as all do in DIL, learns its label again, for the previous answer would forbid to learn anything; it keeps one
list per experience, and they share its m. Classes without exemplars are never the answer; while none of those that
compete has any, the units answer. The units start at random beside a pre-trained backbone, so they have a rate of their
own: at the backbone's they would not follow, and the features bend instead.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.memory import Memory, by_value
from mmcl.data.sample import Batches, SampleDataset
from mmcl.data.selection import herding
from mmcl.data.subset import Joined
from mmcl.errors import ConfigError
from mmcl.learning.compose import Need, Slot
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin
from mmcl.objectives.likelihoods import full_precision
from mmcl.options import Natural, Positive, Rate
from mmcl_strategies.maths.distillation import head_distillation
from mmcl_strategies.replay.nearest_mean import FUSED, ExemplarHead, exemplar_features, mirrored, prototype

Item = TypeVar("Item")


def icarl_losses(
    logits: Float[Tensor, "B C"],
    columns: Int[Tensor, " B"],
    answers: Float[Tensor, "B C"],
    old: Bool[Tensor, " C"],
) -> Float[Tensor, "B C"]:
    """Binary cross-entropies: one-hot targets, replaced in old columns by the previous model's sigmoids.

    Args:
        logits: of the linear units.
        columns: of the true classes.
        answers: the previous model's logits; read in old columns only.
        old: which columns are.
    """
    hard = functional.one_hot(columns, logits.shape[1]).to(logits.dtype)
    targets = torch.where(old, answers.sigmoid(), hard)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def next_exemplars(
    exemplars: Mapping[int, Mapping[int, list[Item]]],
    quota: int,
    experience: int,
    features: Float[Tensor, "n D"],
    labels: Int[Tensor, " n"],
    take: Callable[[int], Item],
    normalise_mean: bool = False,
) -> dict[int, dict[int, list[Item]]]:
    """Cut the old lists, then herd new ones (Algorithms 4 and 5): class -> experience -> exemplars, the best first.

    Args:
        exemplars: before the experience.
        quota: exemplars of each class; a class that has come in r experiences has ``quota // r`` of each.
        experience: index of the one that has been learned.
        features: of its samples under the new network.
        labels: their classes.
        take: makes an exemplar of a position.
        normalise_mean: whether the mean that herding follows has unit length.
    """
    arriving = labels.unique().tolist()
    visits = {label: len({*exemplars.get(label, {}), experience}) for label in arriving}
    kept = {
        label: {visit: items[: quota // visits.get(label, max(len(lists), 1))] for visit, items in lists.items()}
        for label, lists in exemplars.items()
    }
    for label in arriving:
        rows = (labels == label).nonzero().flatten()
        chosen = herding(features[rows], quota // visits[label], unit_mean=normalise_mean)
        kept.setdefault(label, {})[experience] = [take(int(rows[i])) for i in chosen]
    return kept


@dataclass
class ICaRLState:
    """The exemplars as ``Memory`` keeps them."""

    exemplars: dict[int, dict[int, list[dict[str, Any]]]] = field(default_factory=dict)  # class -> experience -> list


@dataclass(kw_only=True, eq=False)
class ICaRL(StrategyPlugin):
    """Trains on new data and exemplars, answers by the nearest mean of exemplars."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES, Slot.OBJECTIVE, Slot.HEAD})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})
    grows: ClassVar[bool] = True  # a unit and a mean for each class

    size: Natural = 2000  # K, exemplars of all classes together
    fixed_per_class: Natural | None = None  # m, exemplars of each class, however many there are; None: K // classes
    loss: Literal["bce", "ce_kd"] = "bce"  # independent sigmoids; "ce_kd": softmax cross-entropy and distillation
    temperature: Positive = 2.0  # T of ce_kd
    decision: Literal["nearest_mean", "network"] = "nearest_mean"  # who answers: the units are the paper's hybrid1
    exemplar_feature: str = "fused"  # what is herded and averaged; or one modality, such as "image"
    normalise_mean: bool = False  # herding follows the class mean at unit length, as the paper's text says
    head_lr: Rate | None = 0.01  # learning rate of the linear units; None: that of the training settings
    flip: bool = False  # average each mean with that of the mirrored images, as the authors' code does

    state: ICaRLState = field(default_factory=ICaRLState, init=False, repr=False)
    _space: LabelSpace = field(default_factory=LabelSpace, init=False, repr=False)
    _old: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def memory_budget(self) -> MemoryBudget:
        """K; without limit if every class has a fixed number."""
        return MemoryBudget(samples=self.size if self.fixed_per_class is None else None)

    def adapt_model(self, learner: Learner) -> None:
        """Put the head in place.

        Raises:
            ConfigError: if the backbone does not encode ``exemplar_feature``.
        """
        backbone = learner.model.backbone
        if self.exemplar_feature not in (FUSED, *backbone.towers):
            raise ConfigError(
                "icarl.exemplar_feature",
                found=f"{self.exemplar_feature!r}",
                allowed=", ".join((FUSED, *backbone.towers)),
                remedy="Choose one of these.",
            )
        learner.model.head = ExemplarHead(
            backbone.width, self.exemplar_feature, by_mean=self.decision == "nearest_mean"
        )

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """New units beside a pre-trained backbone may have a rate of their own."""
        return [] if self.head_lr is None else [(unit, self.head_lr) for unit in learner.model.head.parameters()]

    def training_batches(self, learner: Learner) -> Batches:
        """New samples and exemplars, shuffled together; an epoch is one pass over all of them."""
        samples, config = Joined([learner.current.samples, self._memory()]), learner.config
        steps = config.iterations or config.epochs * ceil(len(samples) / config.batch_size)
        return learner.batches(samples, steps, name="icarl")

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Which columns are old: those of classes that the current experience does not have."""
        spaces = [learner.label_space_of(met.index) for met in learner.seen]
        current = learner.label_space_of(learner.current.index)
        self._space = learner.classes_of(met.index for met in learner.seen)[0]
        gone = [[id_ for id_ in space.ids if id_ not in current.ids] for space in spaces]
        if learner.scenario.label_space_at_test != "own":
            gone = [list(dict.fromkeys(id_ for ids in gone for id_ in ids))]
        self._old = [self._space.columns(torch.tensor(ids)).to(learner.device) for ids in gone if ids]

    def objective(self, learner: Learner) -> Tensor:
        """The loss of the chosen form, over all classes seen."""
        batch = learner.batch
        logits = full_precision(learner.model.score(learner.output, batch.inputs, self._space))
        answers = torch.zeros_like(logits)
        if self._old:
            teacher = learner.teacher("previous")
            with torch.no_grad():
                answers = full_precision(teacher.model.score(teacher.output(batch), batch.inputs, self._space))
        if self.loss == "ce_kd":
            return learner.criterion() + head_distillation(logits, answers, self._old, self.temperature)
        old = torch.zeros(len(self._space), dtype=torch.bool, device=logits.device)
        for columns in self._old:
            old[columns] = True
        return icarl_losses(logits, self._space.columns(batch.labels), answers, old).mean()

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Quota, cut, herd, and all means anew."""
        samples, state = learner.current.samples, self.state
        features, labels = self._features(learner, samples)
        state.exemplars = next_exemplars(
            state.exemplars,
            self.size // len(self._space) if self.fixed_per_class is None else self.fixed_per_class,
            learner.current.index,
            features.double(),
            labels,
            take=lambda index: by_value(samples[index]),
            normalise_mean=self.normalise_mean,
        )
        assert isinstance(learner.model.head, ExemplarHead)
        learner.model.head.place(self._space, self._means(learner))

    def _memory(self) -> Memory:
        return Memory([r for lists in self.state.exemplars.values() for items in lists.values() for r in items])

    def _means(self, learner: Learner) -> dict[int, Tensor]:
        """The prototype of every class with exemplars."""
        memory = self._memory()
        if not len(memory):
            return {}
        views = [self._features(learner, memory, flip) for flip in ((False, True) if self.flip else (False,))]
        features, labels = (torch.cat(column) for column in zip(*views, strict=True))
        return {label: prototype(features[labels == label]) for label in labels.unique().tolist()}

    @torch.no_grad()
    def _features(self, learner: Learner, samples: SampleDataset, flip: bool = False) -> tuple[Tensor, Tensor]:
        """Exemplar features ``[n, D]`` in evaluation mode and classes ``[n]``, in the order of the samples."""
        found = []
        with auxiliary_pass(learner.model):
            for batch in learner.one_pass(samples):
                inputs = mirrored(batch.inputs) if flip else batch.inputs
                features = exemplar_features(learner.model.encode(inputs), self.exemplar_feature)
                found.append((full_precision(features), batch.labels))
        features, targets = (torch.cat(column) for column in zip(*found, strict=True))
        return features, targets
