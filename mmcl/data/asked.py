"""Asked: the question that a batch is asked, and what kind of answer it has."""

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace


class AnswerKind(Enum):
    """What an answer is. The value completes the sentence "samples that are answered with ..."."""

    CLASS = "a class"
    PARTNER = "their partner in the batch"


class Asked(NamedTuple):
    """What competes for the answers of a batch.

    Attributes:
        label_space: the C classes that compete; none where an answer is no class.
        allowed: ``bool[B, C]``, which of them compete in each row; ``None`` if all do.
    """

    label_space: LabelSpace = LabelSpace()
    allowed: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Asked":
        """The same question on ``device``."""
        if self.allowed is None:
            return self
        return self._replace(allowed=self.allowed.to(device, non_blocking=non_blocking))

    def select(self, rows: Tensor) -> "Asked":
        """The same question to some of the rows."""
        return self if self.allowed is None else self._replace(allowed=self.allowed[rows])

    def followed_by(self, other: "Asked", rows: tuple[int, int]) -> "Asked":
        """The question of two batches, one after the other; none yet where they are asked about different classes.

        Args:
            other: of the second one.
            rows: how many each of them has.
        """
        if self.label_space != other.label_space:
            return NOTHING
        if self.allowed is None and other.allowed is None:
            return self
        width, parts = len(self.label_space), zip((self.allowed, other.allowed), rows, strict=True)
        device = next(allowed.device for allowed in (self.allowed, other.allowed) if allowed is not None)
        return self._replace(
            allowed=torch.cat(
                [
                    torch.ones(count, width, dtype=torch.bool, device=device) if allowed is None else allowed
                    for allowed, count in parts
                ]
            )
        )


NOTHING = Asked()
