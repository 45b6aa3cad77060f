"""Names of modalities and what a value of each looks like. The set is open: name a new one and give its spec."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

IMAGE = "image"
TEXT = "text"
VIDEO = "video"
AUDIO = "audio"
ACCELERATION = "acceleration"
GYROSCOPE = "gyroscope"


def matched(modalities: Iterable[str]) -> tuple[str, str]:
    """The two modalities of pairs, a text last: what shows a thing, and what says it."""
    first, second = sorted(modalities, key=lambda name: (name == TEXT, name))
    return first, second


@dataclass(frozen=True)
class ModalitySpec:
    """Shape and type of one prepared value of a modality; a missing value is filled with ``fill``."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    fill: float = 0.0

    def missing(self) -> torch.Tensor:
        """The stand-in for an absent value. Models must consult ``Inputs.present``, never its content."""
        return torch.full(self.shape, self.fill, dtype=self.dtype)
