"""ResultMatrix: the score on every test set after every trained experience, and the row before any training."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl.errors import DataError
from mmcl.escaping import plain
from mmcl.evaluation import summaries
from mmcl.evaluation.summaries import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE_TRAINING = "before training"
_PERCENT = (0.0, 100.0)
_LEGIBLE = 48  # rows and columns of a picture that are named and have room for a number

HEADLINE = (
    "acc",
    "acc_weighted",
    "aia",
    "aia_weighted",
    "learning_acc",
    "forgetting",
    "bwt",
    "fwt",
    "fwt_zeroshot",
    "transfer",
    "avg",
    "last",
    "zeroshot_drop",
)


class ResultMatrix:
    """``R[i, j]``: score on test column j after finishing the i-th trained experience; larger is better.

    NaN means "not evaluated". Rows are trained experiences and columns are test experiences, both in training order;
    both grow. The scores before any training are kept apart from R and never enter a mean over rows.

    Args:
        columns: names of the test experiences.
        metric: what the scores are.
        paired: whether column j is the test set of the j-th experience. Where all experiences share one test set it is
            not, and scores that compare a column with its experience, such as forgetting, are undefined.
    """

    def __init__(self, columns: Sequence[str] = (), *, metric: str = "accuracy", paired: bool = True) -> None:
        self.metric = metric
        self.paired = paired
        self.columns: list[str] = []
        self.rows: list[str] = []
        self._R = np.empty((0, 0))
        self._zero_shot = np.empty(0)
        for name in columns:
            self.add_column(name)

    @property
    def R(self) -> Array:
        """A copy ``float64[T, N]`` of the scores after training."""
        return self._R.copy()

    @property
    def zero_shot(self) -> Array:
        """A copy ``float64[N]`` of the scores before any training, NaN where they were not taken."""
        return self._zero_shot.copy()

    @property
    def complete(self) -> Array:
        """A copy ``float64[1 + T, N]`` of all rows; row 0 is before any training."""
        return np.vstack([self._zero_shot[None], self._R])

    def add_column(self, name: str) -> int:
        """Append a test experience, not evaluated so far, and return its index. Its earlier scores stay NaN."""
        if name in self.columns:
            raise DataError(
                f"result matrix column '{name}'",
                found="a column of that name exists",
                allowed="one column per test experience",
                remedy="Give the experiences of the stream different names.",
            )
        self.columns.append(name)
        self._R = np.pad(self._R, ((0, 0), (0, 1)), constant_values=np.nan)
        self._zero_shot = np.append(self._zero_shot, np.nan)
        return len(self.columns) - 1

    def set_zero_shot(self, scores: Mapping[str, float] | Sequence[float]) -> None:
        """Write the row before any training: column name -> score, or one score per column."""
        self._zero_shot = self._as_row(scores)

    def set_row(self, i: int, scores: Mapping[str, float] | Sequence[float], name: str | None = None) -> None:
        """Write the row of trained experience ``i``; rows up to it that were skipped are NaN.

        Args:
            i: 0-based index of the trained experience.
            scores: column name -> score (absent columns become NaN), or one score per existing column.
            name: row name; by default that of column i, or ``experience i``.
        """
        if i < 0:
            raise DataError(
                "result matrix",
                found=f"row index {i}",
                allowed="0 for the first trained experience, then upwards",
                remedy="Write scores taken before any training with set_zero_shot.",
            )
        row = self._as_row(scores)
        missing = i + 1 - len(self._R)
        if missing > 0:
            self._R = np.pad(self._R, ((0, missing), (0, 0)), constant_values=np.nan)
            self.rows.extend(self._default_name(k) for k in range(len(self.rows), i + 1))
        self._R[i] = row
        if name is not None:
            self.rows[i] = name

    def summary(self, sizes: Sequence[int] | None = None, chance: Sequence[float] | None = None) -> dict[str, float]:
        """The headline scores by name; NaN where one is undefined, all NaN before the first row.

        Args:
            sizes: number of test samples per column; without it the weighted scores are NaN.
            chance: chance level per column; without it ``fwt`` is NaN.
        """
        if self._R.size == 0:
            return {name: float("nan") for name in HEADLINE}
        unknown = np.full(len(self.columns), np.nan)
        scores = summaries.matrix_scores(
            self._R,
            self._zero_shot,
            unknown if chance is None else np.asarray(chance, dtype=np.float64),
            unknown,
            np.zeros(len(self.columns)) if sizes is None else np.asarray(sizes),
        )
        undefined = () if self.paired else summaries.PAIRED
        return {name: float("nan") if name in undefined else float(scores[name]) for name in HEADLINE}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON, ``None`` for NaN. Row 0 of ``matrix`` is the one before training."""
        return {
            "metric": self.metric,
            "paired": self.paired,
            "rows": [BEFORE_TRAINING, *self.rows],
            "columns": list(self.columns),
            "matrix": [[None if np.isnan(value) else float(value) for value in row] for row in self.complete],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ResultMatrix":
        """The inverse of ``to_dict``."""
        result = cls(stored["columns"], metric=stored["metric"], paired=stored.get("paired", True))
        rows = [[np.nan if value is None else value for value in row] for row in stored["matrix"]]
        if not rows or len(rows) != len(stored["rows"]):
            raise DataError(
                "stored result matrix",
                found=f"{len(rows)} rows for {len(stored['rows'])} row names",
                allowed="one row per name, the first being the one before training",
                remedy="Write it again with ResultMatrix.to_dict.",
            )
        result.set_zero_shot(rows[0])
        for i, (name, row) in enumerate(zip(stored["rows"][1:], rows[1:], strict=True)):
            result.set_row(i, row, name)
        return result

    def plot(self, target: "Path | str | Axes", title: str = "") -> None:
        """A heat map of the scores with a colour bar, drawn on matplotlib axes or written to an image file.

        Args:
            target: where to.
            title: above it, in place of the metric's name.
        """
        if not isinstance(target, (str, Path)):
            self._draw(target, title)
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size, layout="constrained")
        FigureCanvasAgg(figure)
        self._draw(figure.subplots(), title)
        with warnings.catch_warnings():
            # the font has no signs of some scripts, of which a picture shows boxes
            warnings.filterwarnings("ignore", "Glyph", UserWarning)
            figure.savefig(target)

    @property
    def size(self) -> tuple[float, float]:
        """Of a picture, in inches; of a long stream it grows no more, and its cells shrink."""
        across, down = min(len(self.columns), _LEGIBLE), min(len(self.rows) + 1, _LEGIBLE)
        return max(5.0, 3.5 + 0.6 * across), 2.3 + 0.4 * down

    def _draw(self, axes: "Axes", title: str) -> None:
        names, rows = zip(*self._named_rows(), strict=True)
        values: Array = np.vstack(rows)
        no_code: dict[str, Any] = {"parse_math": False}  # a dollar sign in a name is one
        down, across = (slice(None, None, -(-length // _LEGIBLE) or 1) for length in values.shape)
        columns = range(len(self.columns))[across]
        axes.set_xticks(columns, [plain(self.columns[j]) for j in columns], rotation=45, ha="right", **no_code)
        axes.set_yticks(range(len(names))[down], list(map(plain, names[down])), **no_code)
        axes.set_xlabel("tested on")
        axes.set_ylabel("after")
        axes.set_title(plain(title or self.metric), wrap=True, fontsize=10, **no_code)
        if not values.size:
            return
        # percent are always drawn alike, so that pictures can be compared; other scores as they are
        percent = bool(((values >= 0) & (values <= _PERCENT[1]) | np.isnan(values)).all())
        low, high = _PERCENT if percent else (None, None)
        image = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap="viridis", vmin=low, vmax=high)
        figure: Any = axes.get_figure()
        figure.colorbar(image, ax=axes).set_label(plain(self.metric), **no_code)
        for i, j in np.argwhere(np.isfinite(values)) if max(values.shape) <= _LEGIBLE else ():
            colour = "black" if float(np.asarray(image.norm(values[i, j]))) > 0.5 else "white"
            axes.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center", color=colour, fontsize=8)

    def _named_rows(self) -> list[tuple[str, Array]]:
        """Every row with its name, the one before training only where it holds a score."""
        trained = list(zip(self.rows, self._R, strict=True))
        measured = np.isfinite(self._zero_shot).any() or not trained
        return [(BEFORE_TRAINING, self._zero_shot), *trained] if measured else trained

    def _as_row(self, scores: Mapping[str, float] | Sequence[float]) -> Array:
        unknown: list[str] = []
        if isinstance(scores, Mapping):
            unknown = [name for name in scores if name not in self.columns]
            row = np.array([scores.get(name, np.nan) for name in self.columns], dtype=np.float64)
        else:
            row = np.array(scores, dtype=np.float64)
        if unknown or row.shape != (len(self.columns),):
            raise DataError(
                "result matrix row",
                found=f"columns {unknown}" if unknown else f"{row.size} scores",
                allowed=f"scores for the {len(self.columns)} columns {self.columns}",
                remedy="Add a column for every test experience first, with add_column.",
            )
        return row

    def _default_name(self, i: int) -> str:
        return self.columns[i] if i < len(self.columns) else f"experience {i}"
