"""Experience replay with a reservoir.

Paper: Vitter 1985; Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning".
Idea: keep a uniform random sample of everything seen so far and train on new and remembered samples together.
Computation: every item of the stream (counted from 0, never reset) gets a random key, and the memory keeps the items
with the largest ones, which is a reservoir without slots. Each step concatenates a new batch with min(B_r, filled)
remembered samples drawn without replacement; the loss is the mean over the concatenation. New samples enter the memory
after the step that first shows them.
Other selections: ``class_balanced`` keeps equally many samples of each class, a uniform sample of every class
(class-balancing reservoir sampling; Chrysakis and Moens, ICML 2020); ``experience_balanced`` does so with experiences;
``ring`` keeps the latest samples of each class, equally many (the ring buffer of Chaudhry et al., whose parts shrink
here as classes arrive).
Kept between experiences: whole samples by value (every modality, target, experience id), un-augmented, or references
(experience, index) into a stream that stays at hand; they are augmented anew when drawn. The number of items seen, and
which keys are too small to enter.
Deviations: a sample is inserted when it is first shown; with ``insert = "every_epoch"`` whenever it is shown, as in
mammoth's buffer, where duplicates enter and the number of items is samples times epochs. In TIL each remembered sample
competes among the classes of its own experience. With ``max_bytes`` as many samples stay, in the order of their keys,
as fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mmcl.data.collate import concatenate
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory, Record, by_reference, by_value, nbytes
from mmcl.data.sample import Batch
from mmcl.data.selection import Contest
from mmcl.learning.compose import Slot
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin
from mmcl.options import Bytes, Natural, Width, check_options
from mmcl_strategies.shared.choices import require

Selection = Literal["reservoir", "class_balanced", "experience_balanced", "ring"]


@dataclass
class ReplayState:
    """The slots of the memory, in three lists of equal length, and what decides who may still enter."""

    records: list[dict[str, Any]] = field(default_factory=list)  # the remembered samples, or where they are
    keys: list[float] = field(default_factory=list)  # of each; the largest ones stay
    groups: list[int] = field(default_factory=list)  # of each, its class or experience where these are balanced, else 0
    closed: dict[int, float] = field(default_factory=dict)  # by group, the largest key that had to leave
    offered: int = 0  # items of the stream seen so far


@dataclass(kw_only=True, eq=False)
class Replay(StrategyPlugin):
    """Mixes remembered samples into every batch."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES})

    size: Natural | None = 500  # samples in the memory; None: as many as max_bytes allows
    max_bytes: Bytes | None = None  # of the values kept; None: no limit
    selection: Selection = "reservoir"  # who stays: reservoir, class_balanced, experience_balanced or ring
    insert: Literal["first_epoch", "every_epoch"] = "first_epoch"  # when samples shown are offered to the memory
    keep: Literal["values", "references"] = "values"  # samples, or "references" into a stream that stays at hand
    batch_size: Width | None = None  # B_r, remembered samples a step; None: as many as new ones

    state: ReplayState = field(default_factory=ReplayState, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a memory without a limit, and a limit that weighs nothing."""
        check_options(self, "replay")
        limited = self.size is not None or self.max_bytes is not None
        require(limited, "replay.size", self.size, "a limit here or in max_bytes")
        weighs = self.max_bytes is None or self.keep == "values"
        without = "none with keep = 'references', which leaves the bytes where they are"
        require(weighs, "replay.max_bytes", self.max_bytes, without)

    def memory_budget(self) -> MemoryBudget:
        """The two limits; references keep no sample by value."""
        if self.keep == "references":
            return MemoryBudget(references=self.size)
        return MemoryBudget(samples=self.size, nbytes=self.max_bytes)

    def training_batches(self, learner: Learner) -> "ReplayBatches":
        """New batches with remembered samples appended."""
        return ReplayBatches(self, learner)

    def group(self, task_id: int, target: float) -> int:
        """Among whom a sample competes for its place."""
        if self.selection == "reservoir":
            return 0
        return task_id if self.selection == "experience_balanced" else int(target)

    def fits(self, weights: Sequence[int]) -> bool:
        """Whether samples of so many bytes each may be kept together."""
        return (self.size is None or len(weights) <= self.size) and (
            self.max_bytes is None or sum(weights) <= self.max_bytes
        )


class ReplayBatches:
    """The mixed batches of one experience; consuming a batch lets its new samples enter the memory afterwards."""

    def __init__(self, strategy: Replay, learner: Learner) -> None:
        self.strategy, self.learner = strategy, learner
        self.samples, self.task_id = learner.current.samples, learner.current.index
        self.iterations = learner.iterations(learner.current)
        self.contest = Contest(strategy.state.keys, strategy.state.groups)
        self.weights = [self._weight(record) for record in strategy.state.records]

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[Batch]:
        learner, strategy = self.learner, self.strategy
        memory = Memory(strategy.state.records, {met.index: met.samples for met in learner.seen})
        generator = learner.generator("replay")
        sampler = IterationSampler(
            len(self.samples), learner.config.batch_size, self.iterations, learner.generator("batches")
        )
        order = list(sampler)
        count = strategy.batch_size or learner.config.batch_size
        always = strategy.insert == "every_epoch"
        shown: set[int] = set()
        for indices, new in zip(order, learner.batches_in(self.samples, order, name="replay"), strict=True):
            drawn = torch.randperm(len(memory), generator=generator)[:count].tolist()
            yield concatenate(new, learner.prepare(memory, drawn, name="replay")) if drawn else new
            rows = [row for row, index in enumerate(indices) if always or index not in shown]
            shown.update(indices)
            if rows:
                self.offer([indices[row] for row in rows], new.targets[rows], generator)

    def offer(self, indices: Sequence[int], targets: Tensor, generator: torch.Generator) -> None:
        """Let samples of the experience enter the memory whose keys are large enough, if they fit in at all."""
        strategy, state = self.strategy, self.strategy.state
        keys = torch.rand(len(indices), generator=generator, dtype=torch.float64).tolist()
        if strategy.selection == "ring":
            keys = list(map(float, range(state.offered, state.offered + len(indices))))
        state.offered += len(indices)
        for index, target, key in zip(indices, targets.tolist(), keys, strict=True):
            group = strategy.group(self.task_id, target)
            if key <= state.closed.get(group, -inf):
                continue
            values = strategy.keep == "values"
            record = by_value(self.samples[index]) if values else by_reference(self.task_id, index)
            weight = self._weight(record)
            if strategy.max_bytes is not None and weight > strategy.max_bytes:
                continue
            state.records.append(record)
            state.keys.append(key)
            state.groups.append(group)
            self.weights.append(weight)
            self.contest.enter(key, group)
            while not strategy.fits(self.weights):
                leaving = self.contest.give_up(state.groups[-1])
                state.closed[state.groups[leaving]] = state.keys[leaving]
                del state.records[leaving], state.keys[leaving], state.groups[leaving], self.weights[leaving]

    def _weight(self, record: Record) -> int:
        """Bytes of a sample, where they are limited."""
        return 0 if self.strategy.max_bytes is None else nbytes([record])
