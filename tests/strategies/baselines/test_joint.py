"""Joint training: everything at once, once."""

import torch
from mmcl_strategies.baselines.joint import Joint

from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


def test_the_first_experience_takes_the_steps_and_the_data_of_the_whole_stream() -> None:
    benchmark, strategy = toy_benchmark(TIL), Joint()
    learner = toy_learner(benchmark, {"joint": strategy}, iterations=4)
    learner.train(benchmark.train[0])
    assert learner.clock.train_iterations == 12
    assert [experience.index for experience in learner.seen] == [0, 1, 2]


def test_later_experiences_of_the_union_change_nothing() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"joint": Joint()})
    learner.train(benchmark.train[0])
    before = weights(learner)
    learner.train(benchmark.train[1])
    assert all(torch.equal(before[name], value) for name, value in weights(learner).items())
