"""Many rows replaced by few with the same second moment ``sum_n x_n x_n^T``.

Sums of squares of anything linear depend on the rows through that matrix alone: ``sum_n (J^T x_n)^2`` is the diagonal
of ``J^T (sum_n x_n x_n^T) J``. Gradients of a batch of likelihoods are far from independent, so few directions hold
nearly all of it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_COLUMNS = 2**14  # of the rows, converted to double precision at a time
_ROUNDING = 16  # units in the last place that sums of products may be off


class SecondMoment:
    """Collects rows and keeps as few as give their second moment, but for a share of its trace.

    Args:
        tolerance: the share of the trace ``sum_n |x_n|^2`` that may be lost; never less than what rounding takes.
        pending: so many new rows are collected before they are merged with the ones kept.
    """

    def __init__(self, tolerance: float, pending: int = 256) -> None:
        self._tolerance, self._limit = tolerance, pending
        self._kept: Tensor | None = None
        self._pending: list[Tensor] = []
        self._trace = self._lost = 0.0

    def add(self, row: Float[Tensor, "..."]) -> None:
        """One more row, of any shape; all rows have the same."""
        self._pending.append(row.detach().flatten())
        if len(self._pending) >= self._limit:
            self._merge()

    def rows(self) -> Float[Tensor, "R K"]:
        """Orthogonal rows, the longest first; at most as many as rows or columns, none if none was added."""
        self._merge()
        return torch.zeros(0, 0) if self._kept is None else self._kept

    def _merge(self) -> None:
        if not self._pending:
            return
        new = torch.stack(self._pending)
        self._pending = []
        rows = new if self._kept is None else torch.cat([self._kept, new])
        self._trace += float(new.double().square().sum())
        gram = sum(part @ part.T for part in (chunk.double() for chunk in rows.split(_COLUMNS, dim=1)))
        values, vectors = torch.linalg.eigh(gram)
        values = values.clamp(min=0)
        budget = max(self._tolerance, _ROUNDING * torch.finfo(rows.dtype).eps) * self._trace - self._lost
        dropped = int((values.cumsum(0) <= max(budget, 0.0)).sum())
        self._lost += float(values[:dropped].sum())
        self._kept = vectors[:, dropped:].flip(1).T.to(rows.dtype) @ rows
