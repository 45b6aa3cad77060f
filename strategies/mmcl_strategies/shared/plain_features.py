"""Plain features: what the model makes of images past everything that strategies have added to it."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Batch
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner


@torch.no_grad()
def plain_features(learner: Learner, batches: Iterable[Batch]) -> tuple[Float[Tensor, "n D"], Int[Tensor, " n"]]:
    """Raw features of the images on the plain way, in evaluation mode, and their classes.

    Args:
        learner: whose model is asked.
        batches: of labelled samples, on the device; those without an image are left out.
    """
    features, labels = [], []
    with auxiliary_pass(learner.model):
        for batch in batches:
            way = Route.plain(len(batch.targets), learner.device)
            output = learner.encode(batch.inputs.replace(route=way))
            if IMAGE in output.features:
                features.append(output.features[IMAGE][output.present[IMAGE]])
                labels.append(batch.labels[output.present[IMAGE]])
    if not features:
        return torch.empty(0, 0), torch.empty(0, dtype=torch.long)
    return torch.cat(features), torch.cat(labels)
