"""Results: what a run has found, as Python users hold it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl.errors import CheckpointError
from mmcl.escaping import markdown
from mmcl.evaluation.answers import answers_of
from mmcl.evaluation.comparison import Comparison, compare_results
from mmcl.evaluation.frame import answers_frame, frame
from mmcl.evaluation.report import results_table, title
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.run_folder import RunFolder
from mmcl.stored import stored_results

if TYPE_CHECKING:
    from mmcl.evaluation.score_table import ScoreTable


@dataclass(frozen=True)
class RunResult:
    """A run that has ended.

    Attributes:
        folder: where everything is.
        results: the content of ``results.json``.
    """

    folder: Path
    results: dict[str, Any]

    @property
    def result_matrix(self) -> ResultMatrix:
        """The scores with their row and column names."""
        return ResultMatrix.from_dict(self.results)

    @property
    def matrix(self) -> Any:
        """``float64[1 + T, N]``; row 0 is before training, NaN is not evaluated."""
        return self.result_matrix.complete

    @property
    def summary(self) -> dict[str, float | None]:
        """The headline scores, such as ``transfer``, ``avg``, ``last`` and ``forgetting``."""
        return dict(self.results["summary"])

    def table(self) -> "ScoreTable":
        """What a paper prints, for ``print``, notebooks and rich consoles."""
        return results_table(self.results)

    def frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for every score: what was learned, what it was tested on.

        Raises:
            ConfigError: if pandas is not installed.
        """
        return frame([self.results])

    def predictions(self, experiences: int | None = None) -> Any:
        """What the model said of every row of the test sets, as a ``pandas.DataFrame``.

        Args:
            experiences: after how many of them, 0 being before training; by default after all.

        Raises:
            CheckpointError: if the run folder has no such file.
            ConfigError: if pandas is not installed.
        """
        last = len(self.results["matrix"]) - 1
        file = self.folder / answers_of(last if experiences is None else experiences)
        if not file.is_file():
            raise CheckpointError(
                f"run folder {self.folder}",
                found=f"no {file.relative_to(self.folder)}",
                allowed=f"0 to {last} experiences, of runs whose metric says what was answered",
                remedy="Ask for another number; runs of earlier versions have tables that are not compressed.",
            )
        return answers_frame(file)

    def plot(self, target: Any = None) -> None:
        """Draw the heat map on matplotlib axes or into an image file; by default show it, in a notebook or a window."""
        matrix, name = self.result_matrix, title(self.results)
        if target is not None:
            matrix.plot(target, name)
            return
        from matplotlib import pyplot

        _, axes = pyplot.subplots(figsize=matrix.size, layout="constrained")
        matrix.plot(axes, name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FigureCanvas.* is non-interactive", UserWarning)  # nobody is looking
            pyplot.show()

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return f"{self.table()._repr_markdown_()}\n\nkept in {markdown(self.folder)}"


def open(folder: "str | Path") -> RunResult:
    """What the run in a folder has found so far, as ``mmcl.run`` has returned it or would.

    Raises:
        CheckpointError: if there is no run, or it has no results yet.
    """
    run = RunFolder.open(Path(folder))
    return RunResult(run.path, run.results)


def compare(runs: "Sequence[RunResult | str | Path]", against: str | None = None) -> Comparison:
    """Runs side by side, with intervals over seeds and paired tests, for terminals, Markdown, LaTeX, CSV and JSON.

    Args:
        runs: results, run folders, or folders with runs below them.
        against: strategies of the row to test against, such as ``"ewc:strength=100"``; by default the first one.

    Raises:
        ConfigError: if there is no run, two are the same, or no row is called ``against``.
        CheckpointError: if a folder holds no results.
    """
    found = [[run.results] if isinstance(run, RunResult) else stored_results([run]) for run in runs]
    return compare_results([results for part in found for results in part], against)
