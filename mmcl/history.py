"""History: what was measured while a run learned, a line of JSON every few steps in ``history.jsonl``.

    {"experience": "birds", "index": 2, "step": 10, "steps": 500, "iteration": 1010, "loss": 1.2, "terms": {...},
     "rates": [1e-05], "seconds": 3.1}

``terms`` are those of the loss, then those added to the gradient; ``iteration`` counts the steps of the run. Lines are
written about twice a second, and a run that goes on drops those of experiences that its checkpoint does not have.
"""

import json
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mmcl.durable import flush
from mmcl.progress import Moment, View
from mmcl.run_folder import RunFolder

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner

HISTORY = "history.jsonl"
EVERY = 10  # steps between two lines: reading a value makes a GPU wait
_OF_THE_RUN = ("done", "total", "left")  # guesses for people
_PAUSE = 0.5  # seconds between two looks of a person, or at the file


class History:
    """The file.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._file = folder.path / HISTORY
        self._kept: list[Moment] = []
        self._written = 0.0  # seconds of the last moment that was written as it came

    def cut(self, experiences: int) -> None:
        """Keep the lines of so many experiences; what a kill or a power cut has left of others goes."""
        if not self._file.is_file():
            return
        with self.folder.writing():
            lines = self._file.read_text("utf-8", "replace").splitlines(keepends=True)
        kept = [line for line in lines if _index(line) < experiences]
        if kept != lines:
            self.folder.write_text(HISTORY, "".join(kept))

    def add(self, moment: Moment) -> None:
        """Keep a step, and write those kept after a pause: small steps may be shorter than writing one line takes."""
        self._kept.append(moment)
        if abs(moment.seconds - self._written) > _PAUSE:  # less in the next experience
            self._written = moment.seconds
            self.write()

    def write(self) -> None:
        """Write the lines of all steps that were kept."""
        if not self._kept:
            return
        lines, self._kept = "".join(map(_line, self._kept)), []
        with self.folder.writing(), self._file.open("a", encoding="utf-8") as file:
            file.write(lines)

    def digest(self) -> str:
        """Stands for all lines so far; empty without any."""
        return sha256(self._file.read_bytes()).hexdigest() if self._file.is_file() else ""

    def flush(self) -> None:
        """Have it on the disk before the checkpoint that needs it."""
        self.write()
        if self._file.is_file():
            with self.folder.writing():
                flush(self._file)


class Watch:
    """Reads losses and rates while a learner trains, and changes nothing.

    Args:
        history: gets every tenth step and the last one of an experience.
        view: gets these, and others after a pause.
        steps: expected of every experience.
    """

    def __init__(self, history: History, view: View, steps: Sequence[int]) -> None:
        self.history, self.view, self.steps = history, view, list(steps)
        self._began = self._looked = 0.0
        self._steps = 0  # of the experience that is learned
        self._start: tuple[float, int] | None = None  # time and steps done when this process began to train

    def before_training_exp(self, learner: "Learner", **_: object) -> None:
        """Note that an experience begins, and how many steps it has."""
        self._began, self._looked = time.perf_counter(), 0.0
        index = learner.current.index
        self.steps[index] = self._steps = len(learner.dataloader)
        self._start = self._start or (self._began, sum(self.steps[:index]))

    def before_update(self, learner: "Learner", **_: object) -> None:
        """Now and then read the values of a step, at the weights they were computed with."""
        step, now = learner.step + 1, time.perf_counter()
        kept = step % EVERY == 0 or step == self._steps
        if kept or now - self._looked > _PAUSE:
            moment = self._moment(learner, step, now)
            if kept:
                self.history.add(moment)
            self.view.step(moment)
            self._looked = now

    def after_training_exp(self, learner: "Learner", **_: object) -> None:
        """Note that an experience has ended."""
        self.history.flush()

    def _moment(self, learner: "Learner", step: int, now: float) -> Moment:
        experience = learner.current
        assert self._start is not None
        begun, before = self._start
        done, total = sum(self.steps[: experience.index]) + step, sum(self.steps)
        terms = {name: value.item() for name, value in learner.loss_terms.items()}
        return Moment(
            experience=experience.name,
            index=experience.index,
            step=step,
            steps=self._steps,
            iteration=learner.clock.train_iterations + 1,
            loss=learner.loss.item(),
            terms=terms | {name: value().item() for name, value in learner.gradient_values.items()},
            rates=sorted({group["lr"] for group in learner.optimizer.param_groups}),
            seconds=now - self._began,
            done=done,
            total=total,
            left=(now - begun) / (done - before) * (total - done),
        )


def _line(moment: Moment) -> str:
    told = {name: value for name, value in moment.to_dict().items() if name not in _OF_THE_RUN}
    return json.dumps({**told, "seconds": round(moment.seconds, 3)}, allow_nan=False) + "\n"


def _index(line: str) -> float:
    """The experience that a line is of; infinity if it is damaged."""
    try:
        content: Any = json.loads(line)
        return int(content["index"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
