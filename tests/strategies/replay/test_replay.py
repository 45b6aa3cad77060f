"""Experience replay: what enters the memory, when, and how it comes back."""

import io
from collections import Counter
from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmcl_strategies.replay.replay import Replay, ReplayBatches, Selection
from torch import Tensor
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory, nbytes
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Sample
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import derive_generator
from mmcl.learning.strategy import MemoryBudget, StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


def offering(samples: list[Sample], task: int) -> Learner:
    """As much of a learner as offering these samples needs."""
    current = SimpleNamespace(samples=samples, index=task)
    return SimpleNamespace(current=current, iterations=lambda _: 0)  # type: ignore[return-value]


class Sizes(StrategyPlugin):
    """Notes the batches a learner sees."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        current = int((learner.batch.task_ids == learner.current.index).sum())  # type: ignore[union-attr]
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


def learned(strategy: Replay, benchmark: Benchmark, **training: object) -> Learner:
    learner = toy_learner(benchmark, {"replay": strategy}, **training)
    for experience in benchmark.train:
        learner.train(experience)
    return learner


def targets(strategy: Replay, learner: Learner) -> list[int]:
    memory = Memory(strategy.state.records, {e.index: e.samples for e in learner.seen})
    return [int(memory[slot].target) for slot in range(len(memory))]


@pytest.mark.parametrize("selection", ["class_balanced", "ring"])
def test_balanced_selections_keep_as_many_samples_of_each_class(selection: str) -> None:
    strategy = Replay(size=9, selection=selection)
    learner = learned(strategy, toy_benchmark(CIL), iterations=8)
    counts = Counter(targets(strategy, learner))
    assert sorted(counts) == list(range(6))
    assert sorted(counts.values()) == [1, 1, 1, 2, 2, 2]


def test_experiences_can_have_as_many_samples_each() -> None:
    strategy = Replay(size=10, selection="experience_balanced")
    learned(strategy, toy_benchmark(DIL), iterations=8)
    assert sorted(Counter(record["task_id"] for record in strategy.state.records).values()) == [3, 3, 4]


def test_where_every_epoch_counts_samples_are_offered_in_each_and_may_enter_twice() -> None:
    offered, duplicates = {}, {}
    for insert in ("first_epoch", "every_epoch"):
        strategy = Replay(size=12, insert=insert)
        learned(strategy, toy_benchmark(CIL, experiences=1), iterations=12)
        names = [record["sample_id"] for record in strategy.state.records]
        offered[insert], duplicates[insert] = strategy.state.offered, len(names) - len(set(names))
    assert offered == {"first_epoch": 16, "every_epoch": 48}
    assert duplicates["first_epoch"] == 0 < duplicates["every_epoch"]


def test_a_ring_keeps_what_was_shown_last() -> None:
    benchmark, strategy = toy_benchmark(CIL, experiences=1, per_class=10), Replay(size=4, selection="ring")
    learned(strategy, benchmark, iterations=5)
    order = [i for batch in IterationSampler(20, 4, 5, derive_generator(0, 0, "batches")) for i in batch]
    latest = {i for label in (0, 1) for i in [i for i in order if i // 10 == label][-2:]}
    assert {record["sample_id"] for record in strategy.state.records} == {f"0/{i}" for i in latest}


@pytest.mark.parametrize("selection", get_args(Selection))
@pytest.mark.parametrize("scenario", [CIL, MDTIL])
def test_neither_limit_is_ever_exceeded(selection: str, scenario: object) -> None:
    benchmark = toy_benchmark(scenario, per_class=10)  # type: ignore[arg-type]
    one_image = 3 * 32 * 32 * 4 + 8
    strategy = Replay(size=7, max_bytes=4 * one_image + 500, selection=selection)

    class Limits(StrategyPlugin):
        checked = 0

        def before_forward(self, learner: Learner, **_: object) -> None:
            self.checked += 1
            assert len(strategy.state.records) <= 7
            assert nbytes(strategy.state.records) <= 4 * one_image + 500

    limits = Limits()
    learner = toy_learner(benchmark, {"replay": strategy, "limits": limits}, iterations=10)
    for experience in benchmark.train:
        learner.train(experience)
    assert limits.checked == 30
    assert len(strategy.state.records) >= 4
    assert strategy.memory_budget() == MemoryBudget(samples=7, nbytes=4 * one_image + 500)


@given(
    texts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=30),
    size=st.none() | st.integers(0, 8),
    max_bytes=st.integers(0, 200),
    selection=st.sampled_from(get_args(Selection)),
)
@settings(deadline=None)
def test_whatever_is_offered_both_limits_hold_and_the_largest_keys_stay(
    texts: list[tuple[int, int]], size: int | None, max_bytes: int, selection: str
) -> None:
    samples = [Sample({"text": "x" * length}, label, str(i), 0) for i, (label, length) in enumerate(texts)]
    strategy, generator = Replay(size=size, max_bytes=max_bytes, selection=selection), torch.Generator().manual_seed(0)
    batches = ReplayBatches(strategy, offering(samples, 0))
    state, keys = strategy.state, dict[str, float]()
    for index, sample in enumerate(samples):
        batches.offer([index], torch.tensor([sample.target]), generator)
        assert size is None or len(state.records) <= size
        assert nbytes(state.records) <= max_bytes
        assert len(state.records) == len(state.keys) == len(state.groups)
        keys |= {record["sample_id"]: key for record, key in zip(state.records, state.keys, strict=True)}
    inside = {record["sample_id"] for record in state.records}
    for left in keys.keys() - inside:
        assert keys[left] <= max(state.closed.values())
    for record, key, group in zip(state.records, state.keys, state.groups, strict=True):
        assert key > state.closed.get(group, -inf)
        of_balance = record["task_id"] if selection == "experience_balanced" else record["target"]
        assert group == (0 if selection == "reservoir" else of_balance)


@given(
    texts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=30),
    size=st.none() | st.integers(0, 8),
    max_bytes=st.none() | st.integers(0, 200),
    selection=st.sampled_from(get_args(Selection)),
    batch=st.integers(1, 30),
)
@settings(deadline=None)
def test_samples_offered_together_leave_the_memory_as_samples_offered_one_by_one(
    texts: list[tuple[int, int]], size: int | None, max_bytes: int | None, selection: str, batch: int
) -> None:
    assume(size is not None or max_bytes is not None)
    samples = [Sample({"text": "x" * length}, label, str(i), 0) for i, (label, length) in enumerate(texts)]
    states = []
    for together in (1, batch):
        strategy = Replay(size=size, max_bytes=max_bytes, selection=selection)
        batches, generator = ReplayBatches(strategy, offering(samples, 0)), torch.Generator().manual_seed(0)
        for begin in range(0, len(samples), together):
            indices = range(begin, min(begin + together, len(samples)))
            batches.offer(indices, torch.tensor([samples[i].target for i in indices]), generator)
        states.append(strategy.state)
    assert states[0] == states[1]


@given(
    lengths=st.lists(st.integers(0, 60), max_size=30),
    size=st.none() | st.integers(0, 8),
    max_bytes=st.integers(0, 200),
)
@settings(deadline=None)
def test_a_reservoir_limited_in_bytes_does_not_depend_on_the_order_of_the_stream(
    lengths: list[int], size: int | None, max_bytes: int
) -> None:
    samples = [Sample({"text": "x" * length}, 0, str(i), 0) for i, length in enumerate(lengths)]
    strategy, generator = Replay(size=size, max_bytes=max_bytes), torch.Generator().manual_seed(0)
    batches = ReplayBatches(strategy, offering(samples, 0))
    for index in range(len(samples)):
        batches.offer([index], torch.tensor([0]), generator)
    generator.manual_seed(0)
    keys = [float(torch.rand((), generator=generator, dtype=torch.float64)) for _ in samples]
    expected, used = set(), 0
    for index in sorted(range(len(samples)), key=keys.__getitem__, reverse=True):
        weight = lengths[index] + 8
        if weight > max_bytes:
            continue
        used += weight
        if used > max_bytes or len(expected) == size:
            break
        expected.add(str(index))
    assert {record["sample_id"] for record in strategy.state.records} == expected


def test_a_sample_that_is_larger_than_the_memory_does_not_empty_it() -> None:
    benchmark, strategy = toy_benchmark(MDTIL), Replay(size=None, max_bytes=1000)
    learned(strategy, benchmark, iterations=8)
    assert {tuple(record["inputs"]) for record in strategy.state.records} == {("text",)}


@pytest.mark.parametrize("scenario", [CIL, MDTIL])
def test_references_train_the_same_weights_as_values(scenario: object) -> None:
    benchmark = toy_benchmark(scenario)  # type: ignore[arg-type]
    by_value, by_reference = Replay(size=6), Replay(size=6, keep="references")
    first, second = learned(by_value, benchmark), learned(by_reference, benchmark)
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())
    assert nbytes(by_reference.state.records) == 6 * 16
    assert targets(by_value, first) == targets(by_reference, second)


@pytest.mark.parametrize(
    "strategy",
    [
        Replay(size=5),
        Replay(size=5, keep="references"),
        Replay(size=5, selection="class_balanced"),
        Replay(size=5, selection="ring", max_bytes=3 * 12296),
    ],
    ids=str,
)
def test_a_restart_changes_nothing(strategy: Replay) -> None:
    benchmark = toy_benchmark(CIL)
    unbroken = learned(replace(strategy), benchmark)
    before = toy_learner(benchmark, {"replay": (kept := replace(strategy))})
    for experience in benchmark.train[:2]:
        before.train(experience)
    stream = io.BytesIO()
    torch.save(kept.state_dict(), stream)
    stream.seek(0)
    after = toy_learner(benchmark, {"replay": (fresh := replace(strategy))})
    for experience in benchmark.train[:2]:
        after.meet(experience)
    restore_model(after.model, model_tensors(before.model, before.untouched))
    fresh.load_state_dict(torch.load(stream, weights_only=True))
    after.train(benchmark.train[2])
    assert all(torch.equal(value, weights(after)[name]) for name, value in weights(unbroken).items())
    assert fresh.state.offered == 3 * 16


def test_options_that_mean_nothing_are_refused() -> None:
    for options, sentence in (
        ({"size": None}, "a limit here or in max_bytes"),
        ({"selection": "herding"}, "'reservoir' or 'class_balanced' or 'experience_balanced' or 'ring'"),
        ({"insert": "never"}, "'first_epoch' or 'every_epoch'"),
        ({"keep": "references", "max_bytes": 100}, "leaves the bytes where they are"),
        ({"batch_size": 0}, "1 or more, up to 65536 or none"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Replay(**options)


# Where easier versions go wrong.


class Shown(StrategyPlugin):
    """Notes which samples a learner sees in each step, and the loss it should have on all of them alike."""

    def __init__(self) -> None:
        self.new: list[list[str]] = []
        self.replayed: list[list[str]] = []
        self.losses: list[tuple[Tensor, Tensor]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        batch, count = learner.batch, learner.config.batch_size
        self.new.append(list(batch.inputs.sample_ids[:count]))
        self.replayed.append(list(batch.inputs.sample_ids[count:]))
        assert learner.output.logits is not None
        columns = learner.label_space.columns(batch.targets)
        self.losses.append((learner.loss, functional.cross_entropy(learner.output.logits, columns)))


def shown(strategy: Replay, benchmark: Benchmark, **training: object) -> Shown:
    watch = Shown()
    learner = toy_learner(benchmark, {"replay": strategy, "shown": watch}, **training)
    for experience in benchmark.train:
        learner.train(experience)
    return watch


def test_a_sample_is_replayed_after_the_step_that_first_shows_it_and_once_a_step() -> None:
    watch = shown(Replay(size=30, batch_size=6), toy_benchmark(CIL), iterations=4)
    earlier: set[str] = set()
    for new, replayed in zip(watch.new, watch.replayed, strict=True):
        assert set(replayed) <= earlier
        assert len(set(replayed)) == len(replayed) == min(6, len(earlier))
        earlier |= set(new)


def test_the_loss_is_one_mean_over_new_and_remembered_samples() -> None:
    """Two means added together would count a remembered sample more than a new one."""
    watch = shown(Replay(size=30, batch_size=7), toy_benchmark(CIL), iterations=4)
    for found, expected in watch.losses:
        torch.testing.assert_close(found, expected)


def test_every_item_of_all_experiences_is_kept_equally_often() -> None:
    """Neither the first, nor the latest, nor those of the last experience; the largest keys are not the last ones."""
    counts, runs, size = torch.zeros(3, 6), 400, 6
    for seed in range(runs):
        strategy, generator = Replay(size=size), torch.Generator().manual_seed(seed)
        for task in range(3):
            samples = [Sample({"text": "x"}, 0, f"{task}/{i}", task) for i in range(6)]
            batches = ReplayBatches(strategy, offering(samples, task))
            for index in range(6):
                batches.offer([index], torch.tensor([0]), generator)
        for record in strategy.state.records:
            counts[record["task_id"], int(record["sample_id"].split("/")[1])] += 1
    shares = counts / runs  # each is 1/3, with a standard error of 0.024
    assert float((shares - size / 18).abs().max()) < 0.09
    assert float((shares.mean(1) - size / 18).abs().max()) < 0.03


def test_a_slot_holds_all_modalities_of_one_sample() -> None:
    benchmark, strategy = toy_benchmark(MDTIL), Replay(size=20)
    learned(strategy, benchmark, iterations=8)
    both = 0
    for record in strategy.state.records:
        task, index = (int(part) for part in record["sample_id"].split("/"))
        original = benchmark.train[task].samples[index]
        assert (record["task_id"], int(record["target"])) == (task, int(original.target))
        assert record["inputs"].keys() == original.inputs.keys()
        assert all(torch.equal(record["inputs"][name], value) for name, value in original.inputs.items())
        both += len(original.inputs) == 2
    assert both


def test_samples_are_kept_un_augmented_and_augmented_anew_whenever_they_are_drawn() -> None:
    benchmark = toy_benchmark(CIL, experiences=1)
    raw = [replace(sample, finished=False) for sample in benchmark.train[0].samples]
    benchmark.train[0].samples = raw  # type: ignore[assignment]
    noise, drawn = torch.Generator().manual_seed(0), dict[str, list[Tensor]]()
    backbone = tiny_clip()
    backbone.preprocess_train = {IMAGE: lambda value: value + torch.rand((), generator=noise)}

    class Drawn(StrategyPlugin):
        def before_forward(self, learner: Learner, **_: object) -> None:
            inputs = learner.batch.inputs
            for row in range(learner.config.batch_size, len(inputs.sample_ids)):
                drawn.setdefault(inputs.sample_ids[row], []).append(inputs[IMAGE][row])

    strategy = Replay(size=3)
    learner = toy_learner(benchmark, {"replay": strategy, "drawn": Drawn()}, backbone=backbone, iterations=8)
    learner.train(benchmark.train[0])
    for record in strategy.state.records:
        original = raw[int(record["sample_id"].split("/")[1])]
        assert torch.equal(record["inputs"][IMAGE], original.inputs[IMAGE])
    several = [images for images in drawn.values() if len(images) > 1]
    assert several
    for name, images in drawn.items():
        original = raw[int(name.split("/")[1])]
        shifts = [(image - original.inputs[IMAGE]).mean() for image in images]
        assert len({round(float(shift), 6) for shift in shifts}) == len(shifts)
        assert all(float(shift) > 0 for shift in shifts)
