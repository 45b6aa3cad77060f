"""Tower: a part of a backbone that has features of its own, and what it makes of a batch."""

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """Pooled features ``[B, D]`` and, where the tower gives them, token features ``[B, L, W]``."""

    pooled: Tensor
    tokens: Tensor | None = None


class Vocabulary(NamedTuple):
    """Token ids of a text tower: a text is the start, its tokens, the end, and padding up to the length of a row.

    Attributes:
        size: ids are below it; the special ones are among them.
        start: begins every text.
        end: ends it; the text tower pools at the first one of a row.
        padding: fills the rest of the row.
    """

    size: int
    start: int
    end: int
    padding: int


class Tower(NamedTuple):
    """A part of a backbone that has features of its own.

    Attributes:
        module: its weights; each sample passes in rows of its own.
        reads: the modalities that it takes; CLIP's towers read one each. One that reads several is given all of them,
            with stand-ins for what a row lacks: ``inputs.present`` says which rows.
        width: D, of its pooled features.
        upon: names of towers whose sequences it goes on from, as a fusion encoder does behind those of image and text.
            It has features in the rows that have all that it reads, and what lengthens theirs lengthens its own.
    """

    module: nn.Module
    reads: frozenset[str]
    width: int
    upon: frozenset[str] = frozenset()

    def concerns(self, modalities: Collection[str]) -> bool:
        """Whether it has something to read in a batch of these modalities."""
        return self.reads.issubset(modalities) if self.upon else not self.reads.isdisjoint(modalities)


class Encoded(NamedTuple):
    """What the towers make of a batch.

    Attributes:
        features: tower -> its features; zeros in rows that lack what it reads.
        present: tower -> ``bool[B]``, which rows have something that it reads.
        logit_scale: the multiplicative scale of cosine similarities.
    """

    features: dict[str, Features]
    present: dict[str, Tensor]
    logit_scale: Tensor
