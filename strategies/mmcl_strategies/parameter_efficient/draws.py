"""Draws: the random values of a strategy's own layers, from generators that belong to it."""

import torch
from jaxtyping import Float
from torch import Tensor


class Draws:
    """Values that decide something are drawn on the CPU, so that they are the same on every device.

    What dropout drops is drawn where it is dropped: there is too much of it to be moved. A copy of a model draws from
    the same generators.

    Args:
        generator: of the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self._there: dict[torch.device, torch.Generator] = {}

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """A standard normal value for each of ``like``."""
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype).to(like.device)

    def dropped(self, hidden: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
        """``hidden`` with this share of zeros, the rest enlarged so that the mean stays."""
        if not share:
            return hidden
        kept = torch.empty_like(hidden).bernoulli_(1 - share, generator=self._on(hidden.device))
        return hidden * kept / (1 - share)

    def _on(self, device: torch.device) -> torch.Generator:
        if device not in self._there:
            seed = int(torch.randint(2**62, (), generator=self.generator))
            self._there[device] = torch.Generator(device).manual_seed(seed)
        return self._there[device]

    def __deepcopy__(self, memo: dict[int, object]) -> "Draws":
        return self
