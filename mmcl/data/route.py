"""Route: which way through an adapted model every row of a batch takes."""

from typing import NamedTuple

import torch
from torch import Tensor

PLAIN = -1  # the way of the pre-trained model, past everything that was added


class Route(NamedTuple):
    """The way of each row.

    Attributes:
        ids: ``int64[B]``, the experience whose additions a row passes; ``PLAIN`` for none.
        strength: ``float[B]``, how much of them, from 0 to 1; at 0 a row is as plain.
        query: ``float[B, Q]``, the frozen features that the way was found by, if it was found.
        prompt_strength: ``float[B]``, how much of them the class prompts pass that a row is compared with, where that
            is not as much as the row itself.
        of_parts: ``int64[B, M]``, the ways through M parts of the model that choose for themselves, in the order of
            their router; ``ids`` is then the way of the one that answers.
    """

    ids: Tensor
    strength: Tensor
    query: Tensor | None = None
    prompt_strength: Tensor | None = None
    of_parts: Tensor | None = None

    @classmethod
    def given(cls, ids: Tensor) -> "Route":
        """Ways that are known, taken in full."""
        return cls(ids, torch.ones(len(ids), device=ids.device))

    @classmethod
    def plain(cls, rows: int, device: torch.device | str = "cpu") -> "Route":
        """Past everything that was added."""
        return cls(torch.full((rows,), PLAIN, device=device), torch.zeros(rows, device=device))

    @property
    def taken(self) -> Tensor:
        """``bool[B]``: which rows pass something that was added."""
        return (self.ids != PLAIN) & (self.strength != 0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Route":
        """The same ways on ``device``."""
        return Route(*(None if part is None else part.to(device, non_blocking=non_blocking) for part in self))  # type: ignore[arg-type]

    def select(self, rows: Tensor) -> "Route":
        """The ways of some rows."""
        return Route(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    def followed_by(self, other: "Route") -> "Route":
        """The ways of two batches, one after the other."""
        query = None if self.query is None or other.query is None else torch.cat([self.query, other.query])
        prompts = None
        if self.prompt_strength is not None or other.prompt_strength is not None:
            prompts = torch.cat([self.strength_of_prompts, other.strength_of_prompts])
        parts = None
        if self.of_parts is not None or other.of_parts is not None:
            parts = torch.cat([self._through_each(other), other._through_each(self)])
        ids, strength = torch.cat([self.ids, other.ids]), torch.cat([self.strength, other.strength])
        return Route(ids, strength, query, prompts, parts)

    def through(self, part: int) -> "Route":
        """The ways through one part of the model, which are those of all parts unless each has chosen for itself."""
        return self if self.of_parts is None else self._replace(ids=self.of_parts[:, part])

    def _through_each(self, other: "Route") -> Tensor:
        """``int64[B, M]``, for as many parts as this route or the other one has."""
        if self.of_parts is not None:
            return self.of_parts
        assert other.of_parts is not None
        return self.ids.unsqueeze(1).expand(-1, other.of_parts.shape[1])

    @property
    def strength_of_prompts(self) -> Tensor:
        """``float[B]``: how much the class prompts pass that a row is compared with."""
        return self.strength if self.prompt_strength is None else self.prompt_strength

    def ways(self) -> list[tuple[int, Tensor]]:
        """Every id that occurs, ascending, with the positions ``int64[n]`` of its rows."""
        ids, which = self.distinct()
        return [(id_, (which == number).nonzero().squeeze(1)) for number, id_ in enumerate(ids)]

    def distinct(self) -> tuple[list[int], Tensor]:
        """Every id that occurs, ascending, and which of them each row has, ``int64[B]``."""
        ids, which = self.ids.unique(return_inverse=True)
        return ids.tolist(), which
