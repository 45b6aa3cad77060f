"""Joint training: everything at once, once."""

import torch
from mmcl_strategies.baselines.joint import Joint

from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


class Watch(StrategyPlugin):
    """Notes what is trained on."""

    def __init__(self) -> None:
        self.images: list[float] = []
        self.pairs: list[tuple[int, int]] = []

    def after_forward(self, learner: Learner, **_: object) -> None:
        batch = learner.batch
        self.images += [image.sum().item() for image in batch.inputs[IMAGE]]
        self.pairs += zip(batch.task_ids.tolist(), batch.targets.tolist(), strict=True)


def test_the_first_experience_takes_the_steps_and_the_data_of_the_whole_stream() -> None:
    """Twelve steps of four are one pass over the 48 samples of three experiences."""
    benchmark, watch = toy_benchmark(TIL), Watch()
    learner = toy_learner(benchmark, {"joint": Joint(), "watch": watch}, iterations=4)
    learner.train(benchmark.train[0])
    assert learner.clock.train_iterations == 12
    assert [experience.index for experience in learner.seen] == [0, 1, 2]
    images = torch.cat([experience.samples.values[IMAGE] for experience in benchmark.train])  # type: ignore[attr-defined]
    assert sorted(watch.images) == sorted(image.sum().item() for image in images)
    assert len(set(watch.images)) == 48
    assert sorted(watch.pairs) == sorted(
        (experience.index, target)
        for experience in benchmark.train
        for target in experience.samples.targets.tolist()  # type: ignore[attr-defined]
    )


def test_later_experiences_of_the_union_change_nothing() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"joint": Joint()})
    learner.train(benchmark.train[0])
    before = weights(learner)
    learner.train(benchmark.train[1])
    assert all(torch.equal(before[name], value) for name, value in weights(learner).items())
