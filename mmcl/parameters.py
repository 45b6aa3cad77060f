"""Parameters: how many a run trains, adds and keeps, experience by experience."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from mmcl.data.nested import nbytes, tensors
from mmcl.learning.learner import Learner
from mmcl.models.backbone import Backbone


class ParameterReport:
    """What every experience of a run has cost beside the pre-trained backbone.

    Args:
        backbone: as it was loaded, before a strategy adapts it.
        rows: of experiences that were learned before an interruption.

    Attributes:
        rows: one for each experience learned, in order: its name as ``experience``; ``total``, the parameters of the
            whole model; ``trained``, those that its optimiser moved; ``added``, those the model had not before it, the
            first experience's with what was added before any; ``stored``, the numbers that are kept for later beside a
            model of the backbone's size: parameters and buffers that were added, and what the states of strategies
            hold; ``bytes``, of these. Copies that teach for the time of an experience are not kept.
    """

    def __init__(self, backbone: Backbone, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._loaded = {f"backbone.{name}" for name in backbone.state_dict()}
        self._before = count(backbone.parameters())
        self.rows = [dict(row) for row in rows]

    def add(self, experience: str, learner: Learner, states: Mapping[str, Any]) -> None:
        """Write down an experience that has just been learned.

        Args:
            experience: its name.
            learner: who has learned it.
            states: of its strategies.
        """
        moved = [part for group in learner.optimizer.param_groups for part in group["params"]]
        total = count(learner.model.parameters())
        added = {name: value for name, value in learner.model.state_dict().items() if name not in self._loaded}
        kept = [added, states]
        self.rows.append(
            {
                "experience": experience,
                "total": total,
                "trained": count(part for part in moved if isinstance(part, nn.Parameter)),
                "added": total - (self.rows[-1]["total"] if self.rows else self._before),
                "stored": sum(tensor.numel() for _, tensor in tensors(kept)),
                "bytes": nbytes(kept),
            }
        )


def count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers they have."""
    return sum(parameter.numel() for parameter in parameters)
