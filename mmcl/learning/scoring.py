"""Scoring: which classes compete in a batch, and how likely its answers are."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mmcl.data.asked import NOTHING, Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch
from mmcl.learning.competition import Competition
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.objectives.objective import Objective
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario
from mmcl.training_config import TrainingConfig


class Scoring:
    """The part of a learner that says which classes compete in a batch, and how likely its answers are.

    Args:
        every_class: of the stream, for scenarios in which those to come compete, too.

    Attributes:
        model: what is asked.
        scenario: which classes compete.
        objective: what batches are trained for.
        config: the settings of the current experience.
        device: where the batches are.
        asked: what competes in the batch that was considered last; ``label_space`` and ``allowed`` are its parts.
    """

    model: MultimodalModel
    scenario: Scenario
    objective: Objective
    config: TrainingConfig
    device: torch.device
    asked: Asked

    def __init__(self, every_class: LabelSpace | None) -> None:
        self.asked = NOTHING
        self._competition = Competition(self.scenario, self.device, every_class)

    @property
    def label_space(self) -> LabelSpace:
        """The classes that compete in the batch considered last."""
        return self.asked.label_space

    @property
    def allowed(self) -> Tensor | None:
        """``bool[B, C]``, which of them compete in each of its rows; ``None`` if all do."""
        return self.asked.allowed

    @property
    def own_classes(self) -> bool:
        """Whether only the classes of a sample's own experience compete in training."""
        return self.scenario.label_space_at_test == "own" or self.config.own_classes

    @property
    def seen(self) -> list[Experience]:
        """The experiences met so far."""
        return self._competition.seen

    def label_space_of(self, task_id: int) -> LabelSpace:
        """The classes of an experience met before, with their training prompts."""
        return self._competition.label_space_of(task_id)

    def classes_of(self, task_ids: Iterable[int]) -> tuple[LabelSpace, Tensor]:
        """The classes of experiences met before, with their training prompts, and who has which.

        Args:
            task_ids: indices of T experiences.

        Returns:
            the C classes that any of them has, and ``bool[T, C]`` on the device: which belong to which experience.
        """
        return self._competition.classes_of(task_ids)

    def consider(self, batch: Batch, own_classes: bool | None = None) -> None:
        """Let the right classes compete for ``batch``: write what it is asked into its inputs, and remember it.

        Args:
            batch: on the device.
            own_classes: whether only those of a sample's own experience do; ``None``: as in training.
        """
        batch.inputs.asked = self.ask(batch.task_ids, own_classes)

    def ask(self, task_ids: Tensor, own_classes: bool | None = None) -> Asked:
        """What competes in rows of these experiences, ``int64[B]``; it becomes ``asked``."""
        own = self.own_classes if own_classes is None else own_classes
        self.asked = Asked(*self._competition.in_batch(task_ids, own))
        return self.asked

    def log_probabilities(self, batch: Batch, own_classes: bool | None = None) -> Tensor:
        """``log p(k | x_n)`` of every answer that competes, ``[B, K]``; free of strategies and label smoothing.

        In full precision whatever that of training is: squares of its gradients would be lost in half of the digits.
        The answers are classes; for pairs without classes they are the other pairs of the batch.

        Args:
            batch: on the device.
            own_classes: as in ``consider``.
        """
        return self.objective.log_probabilities(self._in_full_precision(batch, own_classes), batch.inputs.asked)

    def log_likelihood(self, batch: Batch, own_classes: bool | None = None) -> Tensor:
        """``log p(y_n | x_n)`` of each sample, ``[B]``."""
        output = self._in_full_precision(batch, own_classes)
        return self.objective.log_likelihood(output, batch.targets, batch.inputs.asked)

    def _in_full_precision(self, batch: Batch, own_classes: bool | None) -> Output:
        """The model's output on a batch, in the precision of the weights."""
        self.consider(batch, own_classes)
        with self.model.in_full_precision():
            output: Output = self.model(batch.inputs)
        return output
