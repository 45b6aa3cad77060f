"""A model in double precision is trained in double precision: no loss rounds what it is given."""

import pytest
import torch
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.pseudo_replay.dgr import DGR
from mmcl_strategies.pseudo_replay.feature_replay import FeatureReplay
from mmcl_strategies.replay.icarl import ICaRL

from mmcl.data.collate import TensorSamples
from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner

STRATEGIES: dict[str, StrategyPlugin] = {
    "lwf": LwF(),
    "icarl, bce": ICaRL(),
    "icarl, ce_kd": ICaRL(loss="ce_kd"),
    "dgr, hard": DGR(generator_steps=1, targets="hard"),
    "dgr, soft": DGR(generator_steps=1, targets="soft"),
    "feature_replay, gaussian": FeatureReplay(),
    "feature_replay, vae": FeatureReplay(density="vae", vae_steps=5),
}


class Watch(StrategyPlugin):
    """Notes the precision of every term of the loss."""

    def __init__(self) -> None:
        self.terms: dict[str, set[torch.dtype]] = {}

    def before_backward(self, learner: Learner, **_: object) -> None:
        for name, value in learner.loss_terms.items():
            self.terms.setdefault(name, set()).add(value.dtype)


def doubled() -> Benchmark:
    """A stream whose images are in double precision."""
    benchmark = toy_benchmark(CIL, 2)
    for experience in benchmark.experiences:
        for side in (experience.train, experience.test):
            assert isinstance(side, TensorSamples)
            side.values[IMAGE] = side.values[IMAGE].double()
    return benchmark


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_losses_of_a_model_in_double_precision_are_in_double_precision(name: str) -> None:
    benchmark, watch = doubled(), Watch()
    learner = toy_learner(benchmark, {"s": STRATEGIES[name], "watch": watch})
    for experience in benchmark.train:
        learner.meet(experience)
        learner.model.double()
        learner.train(experience)
    assert len(watch.terms) > 1 or name.startswith("icarl")
    assert {dtype for found in watch.terms.values() for dtype in found} == {torch.float64}, watch.terms
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float64}
