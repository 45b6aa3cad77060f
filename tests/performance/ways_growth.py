"""What a way of its own costs as experiences pile up: a step, an experience stored, a batch that takes many ways.

    python tests/performance/ways_growth.py s_liprompts|moe_adapters+ddas [EXPERIENCES ...]

A miniature CLIP learns 300 experiences of two classes, a few steps each. Printed, for the last ten of 10, 100 and 300
experiences, are milliseconds of processor time of a step and of all else in an experience (what the router learns
among it), Python calls of a step, bytes in model and router that each experience adds, and milliseconds to answer a
batch of 64 samples whose ways are spread over all experiences, class names embedded anew and kept. Nothing is asserted.
"""

import sys
import time
import warnings
from statistics import median
from types import FrameType
from typing import Any

import torch
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.parameter_efficient.s_liprompts import SLiPrompts
from mmcl_strategies.routing.ddas import DDAS

from mmcl.data.asked import Asked
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import DIL
from mmcl.testing.toy import toy_benchmark, toy_learner

STEPS, ROWS, LAST = 4, 64, 10


def composition(name: str) -> dict[str, StrategyPlugin]:
    """Small strategies that give every experience a way."""
    if name == "s_liprompts":
        return {name: SLiPrompts(prompt_length=4, context=8)}
    ddas = DDAS(weights="glyph", code=8, iterations=STEPS, reference_iterations=STEPS)
    return {"moe_adapters": MoEAdapters(experts=8, bottleneck=8), "ddas": ddas}


class Stopwatch(StrategyPlugin):
    """Notes the time of every step, and the calls of the last one of an experience."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.calls: list[int] = []
        self._count = 0

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        if learner.step == STEPS - 1:
            self._count = 0
            sys.setprofile(self._called)
        self._began = time.process_time()

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        sys.setprofile(None)
        if learner.step == STEPS - 1:
            self.calls.append(self._count)
        else:
            self.seconds.append(time.process_time() - self._began)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        self._count += event == "call"


def held(learner: Learner) -> int:
    """Bytes of everything in the model."""
    return sum(value.nbytes for value in learner.model.state_dict().values())


@torch.no_grad()
def answered(learner: Learner, experiences: int) -> tuple[float, float]:
    """Milliseconds for a batch of many ways: the first time after training, and afterwards."""
    model = learner.model.eval()
    inputs = Inputs(
        {IMAGE: torch.randn(ROWS, 3, 32, 32)},
        {IMAGE: torch.ones(ROWS, dtype=torch.bool)},
        asked=Asked(learner.seen[0].label_space),
        route=Route.given(torch.arange(ROWS) % experiences),
    )
    took = []
    for _ in range(4):
        began = time.process_time()
        model.predict(inputs)
        took.append(1000 * (time.process_time() - began))
    return took[0], median(took[1:])


def main(name: str, counts: list[int]) -> None:
    """Learn as many experiences as the largest count, and print a row at each."""
    watch, stream = Stopwatch(), toy_benchmark(DIL, max(counts), per_class=4)
    learner = toy_learner(stream, {**composition(name), "watch": watch}, iterations=STEPS, batch_size=8)
    whole: list[float] = []
    began_with = held(learner)
    print("experiences  step ms  other ms  calls  bytes each  64 rows, first ms  kept ms")
    for count, experience in enumerate(stream.train, start=1):
        began = time.process_time()
        learner.train(experience)
        whole.append(1000 * (time.process_time() - began))
        if count in counts:
            steps = 1000 * median(watch.seconds[-LAST * (STEPS - 1) :])
            first, kept = answered(learner, count)
            print(
                f"{count:11} {steps:8.1f} {median(whole[-LAST:]) - STEPS * steps:9.1f} {watch.calls[-1]:6}"
                f" {(held(learner) - began_with) / count:11.0f} {first:18.1f} {kept:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(sys.argv[1], [int(word) for word in sys.argv[2:]] or [10, 100, 300])
