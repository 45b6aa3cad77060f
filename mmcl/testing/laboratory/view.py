"""Views: what can be seen of a learner at a moment, in a form that can be compared with another moment."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.models.sites import ADDONS

_ONCE = ("adapt_model", "before_training_exp", "after_training_exp", "after_eval_exp")
_BATCH = (
    "before_training_iteration",
    "before_forward",
    "after_forward",
    "loss_terms",
    "before_backward",
    "after_backward",
    "before_update",
    "after_update",
    "after_training_iteration",
    "before_eval_iteration",
    "before_eval_forward",
    "after_eval_forward",
    "after_eval_iteration",
)
_OUTPUT = ("after_forward", "loss_terms", "before_backward", "after_eval_forward")
_GRADIENT = ("after_backward", "before_update")


def decided(event: str, learner: Learner) -> dict[Slot, Any]:
    """What the occupants of slots decide, in a form that can be compared."""
    if event in _ONCE:
        view: dict[Slot, Any] = {Slot.HEAD: id(learner.model.head), Slot.FUSION: id(learner.model.fusion)}
        return view | ({Slot.BATCHES: id(learner.dataloader)} if event == "before_training_exp" else {})
    view = {}
    if event in _BATCH:
        view[Slot.BATCHES] = _identities(batch_tensors(learner))
    if event in _OUTPUT:
        view[Slot.HEAD] = _identities([t for t in (learner.output.logits, learner.output.fused) if t is not None])
    if event == "before_backward":
        view[Slot.OBJECTIVE] = _identities([learner.loss])
    if event in _GRADIENT:
        view[Slot.GRADIENT] = digest(gradients(learner))
    return view


def batch_tensors(learner: Learner) -> list[Tensor]:
    """All tensors of the current batch."""
    batch = learner.batch
    return [*batch.inputs.values(), *batch.inputs.present.values(), batch.targets, batch.task_ids]


def _identities(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    return tuple((id(t), t.data_ptr(), t._version) for t in tensors)


def gradients(learner: Learner) -> Iterator[tuple[str, Tensor]]:
    """Name and gradient of every parameter that has one."""
    return ((n, p.grad) for n, p in learner.model.named_parameters() if p.grad is not None)


def digest(named: Iterable[tuple[str, Tensor]]) -> dict[str, Any]:
    """What identifies the bytes of each tensor."""
    return {name: hash(value.detach().cpu().numpy().tobytes()) for name, value in named}


def modes(learner: Learner) -> dict[str, Any]:
    """Whether each module of the backbone is in training mode."""
    return {name: module.training for name, module in learner.model.named_modules() if is_of_backbone(name)}


def is_of_backbone(name: str) -> bool:
    """Heads and add-ons are their owners' business."""
    return name.startswith("backbone.") and f".{ADDONS}" not in name


def model_digest(learner: Learner) -> dict[str, dict[str, Any]]:
    """Weights, buffers and modes of the model."""
    return {
        "weights": digest(learner.model.named_parameters()),
        "buffers": digest(learner.model.named_buffers()),
        "modes": modes(learner),
    }
