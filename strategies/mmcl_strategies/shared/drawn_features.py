"""Drawn features: those of samples that never existed, and what the classifier makes of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmcl.data.sample import Inputs
from mmcl.learning.strategy import Learner
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import cross_entropy, full_precision


class Drawn(NamedTuple):
    """Features as a backbone would give them, of samples that never existed.

    Attributes:
        features: by modality, raw; zero where it is not present.
        present: by modality, which samples have it.
        targets: class ids.
        task_ids: experiences.
    """

    features: dict[str, Float[Tensor, "B _"]]
    present: dict[str, Bool[Tensor, " B"]]
    targets: Int[Tensor, " B"]
    task_ids: Int[Tensor, " B"]


def loss_of_drawn(learner: Learner, drawn: Drawn, task_ids: Sequence[int]) -> Float[Tensor, ""]:
    """The mean cross-entropy of drawn features, which enter fusion and head as those of real samples do.

    Where only the classes of a sample's own experience compete, those of the experience do that a row is drawn from.

    Args:
        learner: in a step.
        drawn: the features, on the device.
        task_ids: all experiences that rows may be drawn from, ascending.
    """
    # features stand where a head expects what they were computed from: there are no such inputs
    inputs = Inputs(drawn.features, drawn.present, task_ids=drawn.task_ids)
    fused = learner.model.fusion(drawn.features, drawn.present)
    output = Output(fused, drawn.features, drawn.present)
    competing, allowed = learner.label_space, None
    if learner.own_classes:
        competing, member = learner.classes_of(task_ids)
        tasks = torch.tensor(task_ids, device=learner.device)
        allowed = member[torch.searchsorted(tasks, drawn.task_ids)]
    logits = full_precision(learner.model.score(output, inputs, competing))
    return cross_entropy(logits, competing.columns(drawn.targets), allowed, learner.config.label_smoothing)
