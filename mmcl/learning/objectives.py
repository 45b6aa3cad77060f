"""Objectives: what a benchmark trains its batches for, and the likelihood behind it.

An objective holds nothing. Which classes compete, the learner knows.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from mmcl.data.modality import matched
from mmcl.learning.likelihoods import class_log_probabilities, cross_entropy, full_precision, pair_log_probabilities
from mmcl.models.output import Output

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner


class Objective(ABC):
    """One way to read an output: as scores of classes, as pairs, ...

    Attributes:
        unread: training settings that have no effect on it.
    """

    unread: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def loss(self, learner: "Learner", output: Output, targets: Tensor) -> Tensor:
        """What is minimised, a scalar."""

    @abstractmethod
    def log_probabilities(self, learner: "Learner", output: Output) -> Tensor:
        """``[B, K]``: log-probability of every answer that competes in each row; free of label smoothing."""

    @abstractmethod
    def true_columns(self, learner: "Learner", targets: Tensor) -> Tensor:
        """``int64[B]``: the column of the right answer in each row."""


class Classification(Objective):
    """The class of each sample among those that compete."""

    def loss(self, learner: "Learner", output: Output, targets: Tensor) -> Tensor:
        """Cross-entropy with the label smoothing of the training settings."""
        assert output.logits is not None
        columns = self.true_columns(learner, targets)
        return cross_entropy(full_precision(output.logits), columns, learner.allowed, learner.config.label_smoothing)

    def log_probabilities(self, learner: "Learner", output: Output) -> Tensor:
        """``log p(c | x_n)`` of every competing class, ``[B, C]``."""
        assert output.logits is not None
        return class_log_probabilities(output.logits, learner.allowed)

    def true_columns(self, learner: "Learner", targets: Tensor) -> Tensor:
        """The columns of the classes."""
        return learner.label_space.columns(targets)


class Contrastive(Objective):
    """Which image and which text of a batch belong together: continual pre-training on pairs, without classes.

    A value of another modality may stand for the image. CLIP's symmetric InfoNCE: the other pairs of the batch are the
    wrong answers, so a likelihood depends on the batch.
    """

    unread: ClassVar[frozenset[str]] = frozenset({"label_smoothing", "own_classes"})

    def loss(self, learner: "Learner", output: Output, targets: Tensor) -> Tensor:
        """Mean over both directions and all pairs of minus the log-likelihood."""
        return -self.log_probabilities(learner, output).diagonal().mean()

    def log_probabilities(self, learner: "Learner", output: Output) -> Tensor:
        """``[B, B]``, half the log-probability of text k given image n plus half that of image k given text n."""
        first, second = (output.features[name] for name in matched(output.features))
        return pair_log_probabilities(first, second, learner.model.backbone.logit_scale)

    def true_columns(self, learner: "Learner", targets: Tensor) -> Tensor:
        """Pair n is right for row n."""
        return torch.arange(len(targets), device=targets.device)


OBJECTIVES: dict[str, type[Objective]] = {"classification": Classification, "contrastive": Contrastive}
