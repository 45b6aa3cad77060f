"""Do memory and time of class-incremental learning grow along a straight line?

    python tests/performance/cil_growth.py [EXPERIENCES]

A miniature CLIP learns 200 experiences of two new classes each; every test set is evaluated after each of them, as
a run does. Printed are the resident memory and the CPU seconds of an experience, training, evaluation and saving
together, and how far they are from the best straight line, as a share of what the line says at the end. Nothing is
asserted.
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


def measured(experiences: int) -> tuple[list[float], list[float]]:
    """CPU seconds and MiB after every experience."""
    seconds, memory = [time.process_time()], []
    save = RunFolder.save

    def noting(self: RunFolder, *content: Any) -> None:
        save(self, *content)
        seconds.append(time.process_time())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory.append(pages * resource.getpagesize() / 2**20)

    RunFolder.save = noting  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        mmcl.run(
            benchmark=toy_benchmark(CIL, experiences=experiences, per_class=4),
            backbone=Small(),
            training={"iterations": 2, "batch_size": 4, "warmup": 0},
            out=Path(folder) / "run",
            quiet=True,
        )
    return list(np.diff(seconds))[1:], memory[1:]


def show(name: str, values: list[float], unit: str) -> None:
    """First and last window, and the largest distance of a window from the line through all."""
    windows = np.array(values[: len(values) // WINDOW * WINDOW]).reshape(-1, WINDOW)
    means = np.median(windows, axis=1)
    places = np.arange(len(means))
    line = np.polyval(np.polyfit(places, means, 1), places)
    far = np.abs(means - line).max() / line[-1]
    print(f"{name}: {means[0]:.3f} {unit} at first, {means[-1]:.3f} at last, {100 * far:.1f} % from a straight line")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    taken, held = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    show("an experience", taken, "s")
    show("memory", held, "MiB")
