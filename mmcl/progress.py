"""What a person sees while a run is going on, and what the loggers get."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from mmcl.console import make_console
from mmcl.escaping import plain
from mmcl.evaluation.loggers import RunLogger

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner

_SHOW_EVERY = 10  # steps between two readings of the loss terms, which cost a synchronisation on a GPU


class ProgressBar:
    """One line per experience: name, steps, time left, loss terms; then the new row of the matrix."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = make_console(quiet=quiet)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._step = 0

    def before_training_exp(self, learner: "Learner", **_: object) -> None:
        """Open the line of an experience."""
        assert learner.experience is not None
        modalities = "+".join(sorted(learner.experience.modalities))
        self._bar, self._step = self._line(), 0
        self._bar.start()
        label = f"learn {learner.experience.index + 1}: {learner.experience.name} ({modalities})"
        self._task = self._bar.add_task(label, total=len(learner.dataloader), detail="")

    def after_training_iteration(self, learner: "Learner", **_: object) -> None:
        """Move on; now and then read the loss terms."""
        assert self._bar is not None
        self._step += 1
        if self._step % _SHOW_EVERY == 0 or self._step == 1:
            terms = "  ".join(f"{name} {value.item():.3f}" for name, value in learner.loss_terms.items())
            self._bar.update(self._task, completed=self._step, detail=terms)

    def after_training_exp(self, learner: "Learner", **_: object) -> None:
        """Close the line."""
        assert self._bar is not None
        self._bar.update(self._task, completed=self._step)
        self._bar.stop()

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A transient line for something that is not training; call what it yields after each part."""
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
        ) as bar:
            task = bar.add_task(name, total=total)
            yield lambda: bar.advance(task)

    def show_row(self, row: str, scores: Mapping[str, float]) -> None:
        """Print a row of the result matrix."""
        cells = "  ".join(f"{name} {score:.1f}" for name, score in scores.items())
        line = Text.assemble("  ", (plain(row), "bold"), f": {plain(cells)}", overflow="fold")
        self.console.print(line)

    def _line(self) -> Progress:
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self.console,
        )


class LogTerms:
    """Hands every loss term to the loggers, also those added on the gradient side."""

    def __init__(self, loggers: Sequence[RunLogger]) -> None:
        self.loggers = loggers

    def before_update(self, learner: "Learner", **_: object) -> None:
        """Log all terms of this step, at the weights they were computed with."""
        terms = {name: value.item() for name, value in learner.loss_terms.items()}
        terms |= {name: function().item() for name, function in learner.gradient_values.items()}
        for logger in self.loggers:
            for name, value in terms.items():
                logger.scalar(f"loss/{name}", value, learner.clock.train_iterations)
