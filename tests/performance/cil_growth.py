"""Do memory and time of class-incremental learning grow along a straight line?

    python tests/performance/cil_growth.py [EXPERIENCES]

A miniature CLIP learns 200 experiences of two new classes each; every test set is evaluated after each of them, as
a run does. Printed are the resident memory and the CPU time of an experience, training, evaluation and saving together,
and how far they are from the best straight line, as a share of what the line says at the end. A shared machine is
faster at one time than at another: a small piece of work that is always the same is done after every evaluation of a
test set, and the time of an experience is counted in such pieces. Nothing is asserted.
"""

import resource
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

import mmcl
from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.learning.learner import Learner
from mmcl.models.backbone import BackbonePlugin
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark

WINDOW = 10  # experiences that are averaged, because a shared machine stumbles


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    """A miniature CLIP."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image", "text"})

    def build(self) -> OpenCLIPBackbone:
        """With random weights."""
        return tiny_clip()


class Pace:
    """Does a small piece of work now and then, to know how fast the machine is.

    Attributes:
        seconds: CPU time of all pieces so far.
        pieces: how many.
    """

    def __init__(self) -> None:
        self.seconds, self.pieces = 0.0, 0
        self._layers = torch.nn.Sequential(*(torch.nn.Linear(32, 32) for _ in range(8)))

    def step(self) -> None:
        """Another piece."""
        began = time.process_time()
        with torch.no_grad():
            for _ in range(8):
                self._layers(torch.ones(4, 32)).sum().item()
        self.seconds += time.process_time() - began
        self.pieces += 1


def measured(experiences: int) -> tuple[list[float], list[float]]:
    """CPU time, in pieces of work, and MiB after every experience."""
    pace, took, memory = Pace(), list[float](), list[float]()
    last = [time.process_time(), pace.seconds, pace.pieces]
    save, evaluate = RunFolder.save, Learner.evaluate

    def pacing(self: Learner, *arguments: Any) -> float:
        score = evaluate(self, *arguments)
        pace.step()
        return score

    def noting(self: RunFolder, *content: Any) -> None:
        save(self, *content)
        now = [time.process_time(), pace.seconds, pace.pieces]
        in_all, in_pieces, pieces = (one - other for one, other in zip(now, last, strict=True))
        took.append((in_all - in_pieces) / (in_pieces / pieces))
        last[:] = now
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory.append(pages * resource.getpagesize() / 2**20)

    RunFolder.save, Learner.evaluate = noting, pacing  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        mmcl.run(
            benchmark=toy_benchmark(CIL, experiences=experiences, per_class=4),
            backbone=Small(),
            training={"iterations": 2, "batch_size": 4, "warmup": 0},
            out=Path(folder) / "run",
            quiet=True,
        )
    return took[1:], memory[1:]


def show(name: str, values: list[float], unit: str) -> None:
    """First and last window, and the largest distance of a window from the line through all."""
    windows = np.array(values[: len(values) // WINDOW * WINDOW]).reshape(-1, WINDOW)
    means = np.median(windows, axis=1)
    places = np.arange(len(means))
    line = np.polyval(np.polyfit(places, means, 1), places)
    far = np.abs(means - line).max() / line[-1]
    print(f"{name}: {means[0]:.0f} {unit} at first, {means[-1]:.0f} at last, {100 * far:.1f} % from a straight line")
    print(f"  {' '.join(f'{mean:.0f}' for mean in means)}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    taken, held = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    show("an experience", taken, "pieces of work")
    show("memory", held, "MiB")
