"""Learning rates as functions of the step inside one experience: ``(step, lr, warmup, total) -> rate``."""

import math


def warmup_cosine(step: int, lr: float, warmup: int, total: int) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine down to 0 at step ``total``.

    ``lr * (i + 1) / W`` for i < W, else ``lr / 2 * (1 + cos(pi (i - W) / (S - W)))`` with W = warmup, S = total, as in
    the ZSCL release. Step ``total`` itself belongs to the schedule: an experience with S + 1 steps ends at rate 0.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    if step >= total:
        return 0.0
    return 0.5 * lr * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def constant(step: int, lr: float, warmup: int, total: int) -> float:
    """Linear warm-up over ``warmup`` steps as above, then ``lr`` for ever; ``total`` plays no part."""
    return lr * (step + 1) / warmup if step < warmup else lr
