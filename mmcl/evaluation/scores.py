"""Scores of a run, row by row: the metric's own, what guessing scores, and what the metric counts beside."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl.evaluation.few_shot import session_scores
from mmcl.evaluation.metric import AMONG_OWN
from mmcl.evaluation.result_matrix import BEFORE_TRAINING, ResultMatrix


class Scores:
    """Matrices of the same rows and columns.

    Args:
        columns: names of the test sets.
        metric: name of the benchmark's metric.
        paired: whether there is a test set for each experience.

    Attributes:
        matrix: what the metric has counted.
        chance: what guessing scores.
        further: name -> what the metric has counted beside.
    """

    def __init__(self, columns: Sequence[str], metric: str, paired: bool) -> None:
        self._columns, self._paired = list(columns), paired
        self.matrix, self.chance = self._empty(metric), self._empty("chance")
        self.further: dict[str, ResultMatrix] = {}

    @property
    def rows(self) -> list[str]:
        """Names of the rows, that before training among them."""
        return [BEFORE_TRAINING, *self.matrix.rows]

    def put(
        self,
        row: str,
        experience: int,
        scores: Mapping[str, float],
        chance: Mapping[str, float],
        further: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Write a row.

        Args:
            row: its name.
            experience: the index of the one that has been learned; it means nothing before training.
            scores: test set -> score.
            chance: test set -> what guessing scores.
            further: name -> test set -> what was counted beside.
        """
        for name in further:
            self.further.setdefault(name, self._empty(name))
        rows = [(self.matrix, scores), (self.chance, chance)]
        for matrix, values in [*rows, *((self.further[name], values) for name, values in further.items())]:
            if row == BEFORE_TRAINING:
                matrix.set_zero_shot(dict(values))
            else:
                matrix.set_row(experience, dict(values), row)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {
            **self.matrix.to_dict(),
            "chance": self.chance.to_dict(),
            "further": {name: matrix.to_dict() for name, matrix in self.further.items()},
        }

    def go_on(self, stored: Mapping[str, Any]) -> None:
        """Continue what ``to_dict`` gave, with columns for what has joined the stream since."""
        self.matrix, self.chance = self._continued(stored), self._continued(stored["chance"])
        self.further = {name: self._continued(matrix) for name, matrix in stored["further"].items()}

    def summarised(self, sizes: Sequence[int]) -> dict[str, Any]:
        """The part of ``results.json`` that holds scores.

        Args:
            sizes: how many samples each test set has.
        """
        matrix = self.matrix
        # forward transfer compares with guessing in the row just before a column's own experience
        known = len(matrix.rows)
        chance = [self.chance.complete[j, j] if j <= known else float("nan") for j in range(len(sizes))]
        summary = matrix.summary(list(sizes), chance)
        if AMONG_OWN in self.further:
            own = self.further[AMONG_OWN].summary()
            summary |= {f"{name}_own": own[name] for name in ("fwt_zeroshot", "zeroshot_drop")} | self._last_session(
                sizes
            )
        return {
            **matrix.to_dict(),
            "summary": {name: None if value != value else value for name, value in summary.items()},
            "chance": [None if value != value else value for value in chance],
            "further": {name: matrix.to_dict() for name, matrix in self.further.items()},
            "test_sizes": list(sizes),
        }

    def _last_session(self, sizes: Sequence[int]) -> dict[str, float]:
        """Where ever more classes compete, what papers on few-shot sessions print of the last one."""
        R = self.matrix.complete[1:]
        if not len(R):
            return {}
        scores = session_scores(R, sizes)
        last = {"first": scores.first, "later": scores.later, "harmonic": scores.harmonic}
        return {"acc_drop": scores.drop} | {f"acc_{name}": float(values[-1]) for name, values in last.items()}

    def _empty(self, metric: str) -> ResultMatrix:
        return ResultMatrix(self._columns, metric=metric, paired=self._paired)

    def _continued(self, stored: Mapping[str, Any]) -> ResultMatrix:
        matrix = ResultMatrix.from_dict(stored)
        for name in self._columns[len(matrix.columns) :]:
            matrix.add_column(name)
        return matrix
