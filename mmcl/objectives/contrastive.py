"""Contrastive: which image and which text of a batch belong together."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from mmcl.data.asked import AnswerKind, Asked
from mmcl.data.modality import matched
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import pair_log_probabilities
from mmcl.objectives.objective import Objective


@dataclass(frozen=True)
class Contrastive(Objective):
    """Continual pre-training on pairs, without classes: CLIP's symmetric InfoNCE.

    A value of another modality may stand for the image. The other pairs of the batch are the wrong answers, so a
    likelihood depends on the batch.
    """

    answers: ClassVar[AnswerKind] = AnswerKind.PARTNER
    unread: ClassVar[frozenset[str]] = frozenset({"label_smoothing", "own_classes"})

    def loss(self, output: Output, targets: Int[Tensor, " B"], asked: Asked, smoothing: float) -> Float[Tensor, ""]:
        """Mean over both directions and all pairs of minus the log-likelihood."""
        return -self.log_likelihood(output, targets, asked).mean()

    def log_probabilities(self, output: Output, asked: Asked) -> Float[Tensor, "B B"]:
        """Half the log-probability of text k given image n plus half that of image k given text n."""
        first, second = (output.features[name] for name in matched(output.features))
        return pair_log_probabilities(first, second, output.logit_scale)

    def log_likelihood(self, output: Output, targets: Int[Tensor, " B"], asked: Asked) -> Float[Tensor, " B"]:
        """Pair n is right for row n."""
        return self.log_probabilities(output, asked).diagonal()
