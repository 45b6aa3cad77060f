"""What does it cost to watch a run: history.jsonl and the view, per step?

    python tests/performance/watching.py

A learner is watched as ``mmcl run`` watches it: every tenth step goes into a history on disk, and to a view. The CPU
time spent in watching is taken within the steps that are watched, so that a busy machine slows both alike. Once on a
perceptron fed from memory, whose step is as small as steps get, and once on a miniature CLIP. Printed is the share of
watching in a step, with what was spent on it; nothing is asserted.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.history import History, Watch
from mmcl.learning.learner import Learner
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead, PlainBackbone
from mmcl.progress import View
from mmcl.run_folder import RunFolder
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import DIL
from mmcl.views import VIEWS

TURNS = 5


class Stopwatch:
    """CPU time of the steps of an experience, and what of it a watch has taken.

    Args:
        watch: the watch.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.steps = self.watching = 0.0

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Before the first step."""
        self.watch.before_training_exp(learner)
        self._began = time.process_time()

    def before_update(self, learner: Learner, **_: object) -> None:
        """In every step."""
        began = time.process_time()
        self.watch.before_update(learner)
        self.watching += time.process_time() - began

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        """After the last step."""
        self.steps = time.process_time() - self._began


def perceptron() -> MultimodalModel:
    """64-128-10."""
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return MultimodalModel(PlainBackbone(network, (64,), 10), ColumnHead())


def clip() -> MultimodalModel:
    """A miniature CLIP with a linear head."""
    backbone = tiny_clip()
    return MultimodalModel(backbone, LinearHead(backbone.width))


def experience(shape: tuple[int, ...], samples: int) -> Experience:
    """Random samples of ten classes."""
    values = torch.randn(samples, *shape, generator=torch.Generator().manual_seed(0))
    data = TensorSamples({IMAGE: values}, torch.arange(samples) % 10, 0)
    space = LabelSpace.of([f"class {i}" for i in range(10)])
    return Experience(ExperienceData("e", data, data, space), data, 0)


def share(model: MultimodalModel, data: Experience, steps: int, view: View) -> tuple[float, float]:
    """What watching adds to a step: as a share of the step without it, and in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        history = History(RunFolder(Path(folder)))
        clock = Stopwatch(Watch(history, view, [steps]))
        learner = Learner(
            model=model,
            scenario=DIL,
            plugins=[clock],
            training={"iterations": steps, "batch_size": 32, "optimizer": "sgd", "lr": 1e-3, "schedule": "constant"},
        )
        with view.shown():
            learner.train(data)
    return clock.watching / (clock.steps - clock.watching), clock.watching / steps


def compare(name: str, model: Callable[[], MultimodalModel], data: Experience, steps: int) -> None:
    """Print the shares of all views."""
    for kind, view in VIEWS.items():
        # a terminal is a text that nobody reads, redrawn as often as one
        console = Console(file=io.StringIO(), force_terminal=kind == "auto", width=80)
        _, *turns = [share(model(), data, steps, view(console)) for _ in range(1 + TURNS)]
        shares = [100 * part for part, _ in turns]
        spent = 1e6 * statistics.median(seconds for _, seconds in turns)
        spread = f"({min(shares):.2f} to {max(shares):.2f})"
        print(f"{name}, {kind}: {statistics.median(shares):.2f} % {spread}, {spent:.0f} us a step")


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare("perceptron", perceptron, experience((64,), 3200), 1500)
    compare("miniature CLIP", clip, experience(tiny_clip().specs[IMAGE].shape, 320), 200)
