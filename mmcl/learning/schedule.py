"""Learning rates as functions of the step inside one experience: ``(step, lr, warmup, total, epoch) -> rate``.

Step ``total`` is the last one of the experience, and an epoch has ``epoch`` steps.
"""

import math
from collections.abc import Mapping, Sequence

from mmcl.data.names import some


def warmup_cosine(step: int, lr: float, warmup: int, total: int, epoch: int = 1) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine down to 0 at step ``total``.

    ``lr * (i + 1) / W`` for i < W, else ``lr / 2 * (1 + cos(pi (i - W) / (S - W)))`` with W = warmup, S = total, as in
    the ZSCL release. Step ``total`` itself belongs to the schedule: an experience with S + 1 steps ends at rate 0.
    Epochs play no part.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    if step >= total:
        return 0.0
    return 0.5 * lr * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def cosine_by_epoch(step: int, lr: float, warmup: int, total: int, epoch: int = 1) -> float:
    """Half a cosine that moves once an epoch: ``lr / 2 * (1 + cos(pi e / E))`` in epoch e = 0, 1, ... of E.

    As torch's ``CosineAnnealingLR`` gives it to programs that step it by epochs, S-Prompts for one; rate 0 would follow
    on the last epoch. Before it comes the linear warm-up, which is part of the first epochs.
    """
    if step < warmup:
        return constant(step, lr, warmup, total)
    return 0.5 * lr * (1 + math.cos(math.pi * (step // epoch) / (total // epoch + 1)))


def cosine_by_step(step: int, lr: float, warmup: int, total: int, epoch: int = 1) -> float:
    """Half a cosine that has not reached its end: ``lr / 2 * (1 + cos(pi i / n))`` in step i = 0, 1, ... of n.

    As torch's ``CosineAnnealingLR`` gives it to programs that step it n times, DIKI for one. Before it comes the linear
    warm-up, which is part of the first steps.
    """
    return cosine_by_epoch(step, lr, warmup, total)


def constant(step: int, lr: float, warmup: int, total: int, epoch: int = 1) -> float:
    """Linear warm-up over ``warmup`` steps as above, then ``lr`` for ever; ``total`` and ``epoch`` play no part."""
    return lr * (step + 1) / warmup if step < warmup else lr


def ending_at(share: float, rate: float, lr: float) -> float:
    """``share lr + (1 - share) rate``: a schedule that falls from ``lr`` to 0 falls to a share of ``lr`` instead."""
    return share * lr + (1 - share) * rate


def fallen(rate: float, epoch: int, milestones: Sequence[int]) -> float:
    """A tenth of the rate for each milestone that has been passed, as torch's ``MultiStepLR`` gives it.

    Args:
        rate: before any of them.
        epoch: e, counted from 0.
        milestones: epochs after which the rate falls: that of number m is the first one with less.
    """
    return rate * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def unreached(warmup: Mapping[str, int], steps: Mapping[str, int]) -> str:
    """A sentence about experiences whose training is shorter than their warm-up; empty if there are none.

    Args:
        warmup: name of an experience -> steps of its warm-up.
        steps: name of an experience -> steps of its training.
    """
    short = [name for name, number in steps.items() if number < warmup[name]]
    if not short:
        return ""
    return (
        f"The training of {some(short)} is shorter than its warm-up ({steps[short[0]]} of {warmup[short[0]]} steps), "
        "so that the rate never reaches lr. Set a shorter warmup, or more iterations or epochs."
    )
