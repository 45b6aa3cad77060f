"""Classification: the class of each sample among those that compete."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from mmcl.data.asked import AnswerKind, Asked
from mmcl.errors import PluginError
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import class_log_probabilities, cross_entropy, full_precision
from mmcl.objectives.objective import Objective


@dataclass(frozen=True)
class Classification(Objective):
    """Cross-entropy over the classes that compete, each row over its own."""

    answers: ClassVar[AnswerKind] = AnswerKind.CLASS

    def loss(self, output: Output, targets: Int[Tensor, " B"], asked: Asked, smoothing: float) -> Float[Tensor, ""]:
        """Cross-entropy with label smoothing."""
        if output.logits is None:
            raise _unscored()
        columns = asked.label_space.columns(targets)
        return cross_entropy(full_precision(output.logits), columns, asked.allowed, smoothing)

    def log_probabilities(self, output: Output, asked: Asked) -> Float[Tensor, "B C"]:
        """``log p(c | x_n)`` of every competing class."""
        if output.logits is None:
            raise _unscored()
        return class_log_probabilities(output.logits, asked.allowed)

    def log_likelihood(self, output: Output, targets: Int[Tensor, " B"], asked: Asked) -> Float[Tensor, " B"]:
        """``log p(y_n | x_n)``."""
        columns = asked.label_space.columns(targets)
        return self.log_probabilities(output, asked).gather(1, columns.unsqueeze(1)).squeeze(1)


def _unscored() -> PluginError:
    return PluginError(
        "the objective of classes",
        found="an output without scores",
        allowed="an output of samples that were asked about classes",
        remedy="Let the learner consider the batch before the model sees it: learner.consider(batch).",
    )
