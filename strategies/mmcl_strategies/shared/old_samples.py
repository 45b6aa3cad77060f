"""Old samples: what they are worth to a strategy whose additions for earlier experiences are fixed."""

from mmcl.learning.strategy import Learner


def remark_on_old_samples(learner: Learner, who: str, what: str) -> None:
    """Say that they teach nothing, where somebody brings them into the batches.

    Args:
        learner: takes the remark.
        who: the strategy.
        what: it has for each experience, in the plural.
    """
    if learner.batch_builder is not None:
        learner.remarks.add(
            f"{who} learns nothing from samples of earlier experiences: their {what} are fixed. Leave out the "
            "strategy that brings them into the batches."
        )
