"""Experience replay: what enters the memory, when, and how it comes back."""

from mmcl_strategies.replay.replay import Replay

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner


class Sizes(StrategyPlugin):
    """Notes the batches a learner sees."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        current = int((learner.batch.task_ids == learner.experience.index).sum())  # type: ignore[union-attr]
        self.batches.append((current, len(learner.batch.targets)))


def test_the_first_step_replays_nothing_and_later_ones_at_most_the_replay_batch() -> None:
    benchmark, sizes = toy_benchmark(TIL), Sizes()
    learner = toy_learner(benchmark, {"replay": Replay(size=100, batch_size=3), "sizes": sizes}, batch_size=4)
    learner.train(benchmark.train[0])
    assert [total for _, total in sizes.batches] == [4, 7, 7, 7]


def test_the_memory_never_exceeds_its_size_and_counts_each_sample_once() -> None:
    benchmark, strategy = toy_benchmark(TIL, per_class=8), Replay(size=5)
    learner = toy_learner(benchmark, {"replay": strategy}, iterations=12)
    for experience in benchmark.train:
        learner.train(experience)
    assert len(strategy.state.records) == 5
    assert strategy.state.offered == 3 * 16


def test_samples_of_earlier_experiences_are_replayed_with_their_own_task_id() -> None:
    benchmark, sizes = toy_benchmark(TIL), Sizes()
    learner = toy_learner(benchmark, {"replay": Replay(size=50, batch_size=20), "sizes": sizes}, iterations=4)
    learner.train(benchmark.train[0])
    sizes.batches.clear()
    learner.train(benchmark.train[1])
    assert all(total > current for current, total in sizes.batches)


def test_a_memory_of_size_zero_is_fine_tuning() -> None:
    benchmark, sizes = toy_benchmark(TIL), Sizes()
    learner = toy_learner(benchmark, {"replay": Replay(size=0), "sizes": sizes})
    learner.train(benchmark.train[0])
    assert all(total == current for current, total in sizes.batches)


def test_remembered_samples_own_their_bytes() -> None:
    benchmark, strategy = toy_benchmark(TIL), Replay(size=4)
    learner = toy_learner(benchmark, {"replay": strategy})
    learner.train(benchmark.train[0])
    for record in strategy.state.records:
        image = record["inputs"]["image"]
        assert image.untyped_storage().nbytes() == image.numel() * image.element_size()
