"""Merging weights leaves buffers alone: a tower with batch norm goes on with the statistics of the fine-tuned model."""

import pytest
import torch
from mmcl_strategies.distillation.wise_ft import WiSEFT
from torch import Tensor

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.laboratory.nested import copied
from mmcl.testing.toy import toy_benchmark, toy_learner
from mmcl.testing.toy.models import ImageTower


@pytest.mark.parametrize("fisher", [False, True])
def test_batch_statistics_are_those_of_the_last_step_and_not_merged(fisher: bool) -> None:
    trained: list[dict[str, Tensor]] = []

    class LastStatistics(StrategyPlugin):
        def after_training_epoch(self, learner: Learner, **_: object) -> None:
            trained.append(copied(dict(learner.model.named_buffers())))

    benchmark = toy_benchmark(TIL)
    strategies = {"wise_ft": WiSEFT(alpha=0.5, fisher=fisher, samples=4), "last": LastStatistics()}
    learner = toy_learner(benchmark, strategies, backbone=ImageTower(), lr=1e-2)
    start = copied(dict(learner.model.named_buffers()))
    learner.train(benchmark.train[0])
    for name, value in learner.model.named_buffers():
        assert torch.equal(value, trained[-1][name])
    moved = "backbone.layers.0.running_mean"
    assert not torch.equal(start[moved], trained[-1][moved])
