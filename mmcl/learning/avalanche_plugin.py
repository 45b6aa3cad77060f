"""AvalanchePlugin: MMCL's strategies as a plugin of avalanche's own templates, such as ``Naive``.

The template trains a plain image network; the strategies see an ordinary ``Learner`` that does not train by itself but
follows the template hook by hook.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from avalanche.benchmarks import EagerCLStream
from avalanche.core import SupervisedPlugin
from avalanche.models.utils import is_multi_task_module
from torch import Tensor

from mmcl.data.asked import AnswerKind
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.loader import Cycled
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Batch, Batches, Inputs
from mmcl.errors import CompositionError, DataError
from mmcl.learning.compose import Slot, Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.timeline import AFTER_EVALUATION, BEFORE_EVALUATION, EVALUATION_STEP
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.models.plain import ColumnHead, PlainBackbone
from mmcl.registry import STRATEGIES, name_of
from mmcl.streams.experience import Experience
from mmcl.streams.rows import LabelledRows
from mmcl.streams.scenario import CIL

_AROUND = Surroundings(
    scenario=CIL,
    towers=frozenset({frozenset({IMAGE})}),
    reference_data=False,
    modalities=frozenset({IMAGE}),
    answers=AnswerKind.CLASS,
    writes=False,
)
_SLOTS = frozenset({Slot.BATCHES, Slot.GRADIENT})
_EVALUATION = (*BEFORE_EVALUATION, *EVALUATION_STEP, *AFTER_EVALUATION)


class AvalanchePlugin(SupervisedPlugin[Any]):
    """Strategies inside a template of avalanche: ``Naive(..., plugins=[AvalanchePlugin(EWC(), Replay())])``.

    The template's model maps image tensors to one score per class id. Its loss stays as it is; for the strategies the
    classes seen so far compete, as in scenario CIL. All parameters of the model count as shared.

    Args:
        strategies: in the order of composition.
        seed: the strategies' random choices follow from it.

    Attributes:
        learner: what the strategies see; it exists once training has begun.

    Raises:
        CompositionError: if a strategy needs what a plain image network does not have, or two take one slot.
    """

    learner: Learner

    def __init__(self, *strategies: StrategyPlugin, seed: int = 0) -> None:
        super().__init__()
        names = [name_of(STRATEGIES, type(strategy)) for strategy in strategies]
        check_composition(strategies, names, _AROUND)
        for strategy, name in zip(strategies, names, strict=True):
            _require_hosting(strategy, name, names.count(name))
        self.strategies = dict(zip(names, strategies, strict=True))
        self.seed = seed
        self._begun = False

    # The beginning of an experience.

    def before_train_dataset_adaptation(self, template: Any, **_: Any) -> None:
        """The model still is as the last experience handed it over."""
        _require_alone(self, template)
        experience = self._experience(template.experience)
        if not self._begun:
            self.learner, self._begun = self._learner(template, experience), True
        backbone = self.learner.model.backbone
        assert isinstance(backbone, PlainBackbone)
        backbone.replace(template.model)
        self._tell("before_training")
        self.learner.begin(experience)
        self._tell("before_train_dataset_adaptation")

    def after_train_dataset_adaptation(self, template: Any, **_: Any) -> None:
        """The samples are there."""
        self._tell("after_train_dataset_adaptation")

    def before_training_exp(self, template: Any, **_: Any) -> None:
        """The occupant of slot BATCHES replaces the template's loader."""
        learner, epochs = self.learner, template.train_epochs
        learner.optimizer = template.optimizer
        if learner.batch_builder is None:
            learner.dataloader = Cycled(template.dataloader, epochs * len(template.dataloader))
        else:
            learner.dataloader = learner.batch_builder.training_batches(learner)
            template.dataloader = Rounds(learner.dataloader, epochs)
        self._tell("before_training_exp")

    def before_training_epoch(self, template: Any, **_: Any) -> None:
        """The beginning of every epoch.

        Raises:
            CompositionError: if a plugin of avalanche has replaced the batches that a strategy builds.
        """
        if self.learner.batch_builder is not None and not isinstance(template.dataloader, Rounds):
            raise CompositionError(
                f"composition of {', '.join(self.strategies)} and avalanche's plugins",
                found=f"a strategy and a plugin both {Slot.BATCHES.value} (slot {Slot.BATCHES.name})",
                allowed="one of them",
                remedy="Remove the strategy, or the plugin that replaces 'dataloader'.",
            )
        self._tell("before_training_epoch")

    # One step.

    def before_training_iteration(self, template: Any, **_: Any) -> None:
        """Show the template's batch."""
        self.learner.mbatch = self._batch(template)
        self.learner.call("before_training_iteration")

    def before_forward(self, template: Any, **_: Any) -> None:
        """The classes seen so far compete, and teachers follow."""
        self.learner.call("before_forward")
        self.learner.consider(self.learner.batch)
        self.learner.move_teachers()

    def after_forward(self, template: Any, **_: Any) -> None:
        """Show the template's output."""
        scores: Tensor = template.mb_output
        output = Output(scores, {IMAGE: scores}, dict(self.learner.batch.inputs.present))
        output.logits = self.learner.model.head.score(output, self.learner.batch.inputs, self.learner.label_space)
        self.learner.mb_output = output
        self.learner.call("after_forward")

    def before_backward(self, template: Any, **_: Any) -> None:
        """Add the loss terms to the template's loss."""
        self.learner.loss = self.learner.add_loss_terms(template.loss.reshape(()))
        self.learner.call("before_backward")
        template.loss = self.learner.loss

    def after_backward(self, template: Any, **_: Any) -> None:
        """Add to the gradient."""
        self.learner.call("after_backward")
        self.learner.finish_gradient()

    def before_update(self, template: Any, **_: Any) -> None:
        """The gradient is complete, and the template has not clipped it."""
        self.learner.call("before_update")

    def after_update(self, template: Any, **_: Any) -> None:
        """The template's optimiser has moved the weights."""
        self.learner.call("after_update")

    def after_training_iteration(self, template: Any, **_: Any) -> None:
        """The end of a step."""
        self.learner.call("after_training_iteration")

    # The end of an experience.

    def after_training_epoch(self, template: Any, **_: Any) -> None:
        """The end of every epoch."""
        self._tell("after_training_epoch")

    def after_training_exp(self, template: Any, **_: Any) -> None:
        """Consolidate, those that rewrite the weights first."""
        self.learner.consolidate()

    def after_training(self, template: Any, **_: Any) -> None:
        """The end of what the template was asked to train."""
        self._tell("after_training")

    # Helpers.

    def _tell(self, event: str) -> None:
        for strategy in self.strategies.values():
            getattr(strategy, event)(self.learner)

    def _learner(self, template: Any, experience: Experience) -> Learner:
        shape, outputs = _shapes(template, experience)
        learner = Learner(
            model=MultimodalModel(PlainBackbone(template.model, shape, outputs), ColumnHead()),
            scenario=CIL,
            strategies=self.strategies,
            training={
                "batch_size": template.train_mb_size,
                "eval_batch_size": template.eval_mb_size,
                "epochs": template.train_epochs,
                "lr": template.optimizer.defaults["lr"],
                "device": str(template.device),
                "freeze": (),
            },
            seed=self.seed,
        )
        learner.clock = template.clock
        return learner

    def _experience(self, given: Any) -> Experience:
        """An experience of avalanche as one of MMCL, in its stream if a strategy wants all of it."""
        if not any(strategy.order == "at once" for strategy in self.strategies.values()):
            return _converted(given)
        stream = EagerCLStream("train", [_converted(experience) for experience in given.origin_stream])
        experience: Experience = stream[given.current_experience]
        return experience

    def _batch(self, template: Any) -> Batch:
        values, targets, *more = template.mbatch
        # only batches of a strategy carry indices of experiences; avalanche's task labels are something else
        known = more[-1] if self.learner.batch_builder is not None else None
        task_ids = torch.full_like(targets, self.learner.current.index) if known is None else known
        present = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        return Batch(Inputs({IMAGE: values}, {IMAGE: present}, task_ids=task_ids), targets, task_ids)


class Rounds:
    """The batches of an experience, cut into the epochs in which avalanche's templates take them."""

    def __init__(self, batches: Batches, epochs: int) -> None:
        self.epochs, self.length = epochs, len(batches) // epochs
        self._rest, self._begun = iter(batches), 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        self._begun += 1
        # the last round goes on to the very end: whoever builds batches may have something left to do there
        for batch in self._rest if self._begun == self.epochs else islice(self._rest, self.length):
            yield batch.inputs[IMAGE], batch.targets, batch.task_ids


def _converted(given: Any) -> Experience:
    """The samples as the data set gives them at evaluation, and the classes that occur among them."""
    index, dataset = given.current_experience, given.dataset
    if not hasattr(dataset, "targets"):
        raise DataError(
            f"experience {index}",
            found="its data set has no targets",
            allowed="a classification data set of avalanche",
            remedy="Wrap it with avalanche's as_classification_dataset.",
        )
    ids = sorted({int(target) for target in dataset.targets})
    samples = LabelledRows(dataset.eval(), index)
    space = LabelSpace(tuple(ClassLabel(id_, str(id_)) for id_ in ids))
    return Experience(ExperienceData(f"experience {index}", samples, samples, space), samples, index)


def _shapes(template: Any, experience: Experience) -> tuple[tuple[int, ...], int]:
    """Shape of an image and number of scores, from a trial with one sample."""
    image, found = experience.samples[0].inputs[IMAGE], ""
    if not isinstance(image, Tensor):
        found = f"its data set gives {type(image).__name__} instead of tensors"
    elif is_multi_task_module(template.model):
        found = "the model wants task labels"
    else:
        with auxiliary_pass(template.model), torch.no_grad():
            scores = template.model(image.unsqueeze(0).to(template.device))
        if isinstance(scores, Tensor) and scores.ndim == 2:
            return tuple(image.shape), scores.shape[1]
        found = "the model does not return a matrix of scores"
    raise CompositionError(
        f"MMCL's strategies in {type(template).__name__}",
        found=found,
        allowed="a model from image tensors to one score per class id",
        remedy="Add ToTensor to the transforms, use a single-head model, or train with mmcl.Learner.",
    )


def _require_hosting(strategy: StrategyPlugin, name: str, count: int) -> None:
    taken = [slot.value for slot in strategy.slots - _SLOTS]
    unheard = [event for event in _EVALUATION if strategy.overrides(event)]
    for holds, found, remedy in (
        (count == 1, f"it is there {count} times", "Keep one."),
        (not taken, f"it wants to {''.join(taken[:1])}, which the template does itself", "Train with mmcl.Learner."),
        (
            not unheard,
            f"it defines {''.join(unheard[:1])}, and evaluation is the template's",
            "Train with mmcl.Learner.",
        ),
    ):
        if not holds:
            raise CompositionError(
                f"strategy {name!r} in a template of avalanche",
                found=found,
                allowed="strategies that add loss or gradient terms, build batches or act after updates, each once",
                remedy=remedy,
            )


def _require_alone(plugin: AvalanchePlugin, template: Any) -> None:
    rivals = [p for p in template.plugins if isinstance(p, AvalanchePlugin)]
    if rivals != [plugin]:
        raise CompositionError(
            f"plugins of {type(template).__name__}",
            found=f"{len(rivals)} AvalanchePlugins",
            allowed="one, which holds all strategies of MMCL",
            remedy="Write AvalanchePlugin(first, second).",
        )
