"""What a learner refuses or remarks: questions out of turn, losses that are no numbers, batches that teach nothing."""

from collections.abc import Mapping

from torch import Tensor

from mmcl.errors import PluginError, TrainingError


def out_of_turn(what: str, hooks: str) -> PluginError:
    """Somebody asks for what is not there between two steps, or two experiences.

    Args:
        what: such as ``"current batch"``.
        hooks: in which it is there.
    """
    return PluginError(
        f"the learner's {what}",
        found="it is asked for while there is none",
        allowed=hooks,
        remedy="Ask for it in one of these; learner.seen has the experiences met so far.",
    )


def not_finite(experience: str, step: int, loss: Tensor, terms: Mapping[str, Tensor]) -> TrainingError:
    """A loss is no number any more.

    Args:
        experience: its name.
        step: its index.
        loss: the sum.
        terms: name -> what it is the sum of.
    """
    broken = [name for name, value in terms.items() if not bool(value.isfinite())]
    return TrainingError(
        f"experience {experience!r}, step {step}",
        found=f"the loss is {loss.item()}, from the term {', '.join(map(repr, broken)) or 'sum'}",
        allowed="finite losses",
        remedy="Begin another run with a lower learning rate, or a lower strength of the term; "
        "the checkpoint of the experience before is kept.",
    )


def nothing_trained(experience: str) -> str:
    """The remark on batches whose loss has no gradient."""
    return (
        f"Experience {experience!r}: there are batches in which nothing that is trained takes part, because what "
        "encodes them is frozen; nothing is learned from them. Train more of the model, or leave them out."
    )
