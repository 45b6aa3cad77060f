"""Experience replay with a reservoir.

Paper: Vitter 1985 (algorithm R); Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning".
Idea: keep a uniform random sample of everything seen so far and train on new and remembered samples together.
Computation: item k of the stream (counted from 0, never reset) fills slot k while k < size, else it draws j uniformly
from 0..k and overwrites slot j if j < size. Each step concatenates a new batch with min(B_r, filled) remembered samples
drawn without replacement; the loss is the mean over the concatenation. New samples enter the memory after the step
that first shows them.
Kept between experiences: whole samples by value (every modality, target, experience id), un-augmented; they are
augmented anew when drawn. The number of items seen.
Deviations: a sample is inserted when it is first shown, not once per epoch (mammoth's buffer counts epochs, so
duplicates enter). In TIL each remembered sample competes among the classes of its own experience.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from mmcl.data.collate import concatenate
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory
from mmcl.data.sample import Batch
from mmcl.data.selection import REJECTED, reservoir_slot
from mmcl.errors import ConfigError
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import MemoryBudget, StrategyPlugin


@dataclass
class ReplayState:
    """The slots of the memory and how many items the reservoir has been offered."""

    records: list[dict[str, Any]] = field(default_factory=list)  # the remembered samples
    offered: int = 0  # items of the stream seen so far


@dataclass(kw_only=True, eq=False)
class Replay(StrategyPlugin):
    """Mixes remembered samples into every batch."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES})

    size: int = 500  # slots of the memory
    batch_size: int | None = None  # B_r, remembered samples a step; None: as many as new ones

    state: ReplayState = field(default_factory=ReplayState, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name, value in (("size", self.size), ("batch_size", 1 if self.batch_size is None else self.batch_size)):
            if value < 0 or (name == "batch_size" and value == 0):
                raise ConfigError(
                    f"replay.{name}", found=f"{value}", allowed="a positive number", remedy="Choose a larger one."
                )

    def memory_budget(self) -> MemoryBudget:
        """The slots of the reservoir."""
        return MemoryBudget(samples=self.size)

    def training_batches(self, learner: Learner) -> "ReplayBatches":
        """New batches with remembered samples appended."""
        return ReplayBatches(self, learner)


class ReplayBatches:
    """The mixed batches of one experience; consuming a batch lets its new samples enter the memory afterwards."""

    def __init__(self, strategy: Replay, learner: Learner) -> None:
        assert learner.experience is not None
        self.strategy, self.learner = strategy, learner
        self.samples = learner.experience.samples
        self.iterations = learner.iterations(learner.experience)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[Batch]:
        learner, strategy, state = self.learner, self.strategy, self.strategy.state
        memory = Memory(state.records)
        generator = learner.generator("replay")
        sampler = IterationSampler(
            len(self.samples), learner.config.batch_size, self.iterations, learner.generator("batches")
        )
        order = list(sampler)
        count = strategy.batch_size or learner.config.batch_size
        shown: set[int] = set()
        for indices, new in zip(order, learner.batches_in(self.samples, order, name="replay"), strict=True):
            drawn = torch.randperm(len(memory), generator=generator)[:count].tolist()
            yield concatenate(new, learner.prepare(memory, drawn)) if drawn else new
            for index in indices:
                if index not in shown:
                    shown.add(index)
                    slot = reservoir_slot(state.offered, strategy.size, float(torch.rand((), generator=generator)))
                    state.offered += 1
                    if slot != REJECTED:
                        memory.put(slot, self.samples[index])
