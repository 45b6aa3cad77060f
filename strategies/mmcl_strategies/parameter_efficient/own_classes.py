"""Own classes: in training no class of another experience competes, whatever the scenario says of evaluation."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mmcl.data.asked import Asked
from mmcl.learning.strategy import Learner


def loss_over_own_classes(learner: Learner) -> Float[Tensor, ""]:
    """The benchmark's objective over the classes of each row's own experience.

    As if the logits of all other experiences were minus infinity: what is learned now moves none of their units.
    """
    batch, output = learner.batch, learner.output
    assert output.logits is not None
    tasks = batch.task_ids.unique()
    space, members = learner.classes_of(tasks.tolist())
    columns = learner.label_space.columns(torch.tensor(space.ids, device=output.logits.device))
    asked = Asked(space, members[torch.searchsorted(tasks, batch.task_ids)] if len(tasks) > 1 else None)
    own = replace(output, logits=output.logits[:, columns])
    loss: Tensor = learner.objective.loss(own, batch.targets, asked, learner.config.label_smoothing)
    return loss
