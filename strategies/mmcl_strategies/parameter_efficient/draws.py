"""Draws: the random values of a strategy's own layers, from one generator that belongs to it."""

import torch
from torch import Tensor


class Draws:
    """Draws on the device where the values are wanted. A copy of a model draws from the same generator.

    Args:
        generator: of that device.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    @classmethod
    def seeded(cls, seeds: torch.Generator, device: torch.device) -> "Draws":
        """With a generator on ``device`` whose seed is the next value of another one."""
        seed = int(torch.randint(2**62, (), generator=seeds))
        return cls(torch.Generator(device).manual_seed(seed))

    def normal(self, like: Tensor) -> Tensor:
        """A standard normal value for each of ``like``."""
        return torch.empty_like(like).normal_(generator=self.generator)

    def dropped(self, hidden: Tensor, share: float) -> Tensor:
        """``hidden`` with this share of zeros, the rest enlarged so that the mean stays."""
        if not share:
            return hidden
        kept = torch.empty_like(hidden).bernoulli_(1 - share, generator=self.generator)
        return hidden * kept / (1 - share)

    def __deepcopy__(self, memo: dict[int, object]) -> "Draws":
        return self
