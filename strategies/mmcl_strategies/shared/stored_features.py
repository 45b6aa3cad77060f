"""Samples kept with the features they had: what a teacher that is no model consists of (KDR, distillation).

Sample and features of a slot are written together and never separated. Features are those of the un-augmented sample
under the model of its day; they are not refreshed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmcl.data.memory import Memory, Record, by_value
from mmcl.data.sample import Batch, Inputs
from mmcl.data.subset import Subset
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner

Encode = Callable[[Inputs], Mapping[str, Tensor]]


@dataclass
class StoredFeatures:
    """The slots, in the order in which they were filled; as the state of a strategy, it is in every checkpoint."""

    records: list[Record] = field(default_factory=list)  # the samples, by value
    features: dict[str, Tensor] = field(default_factory=dict)  # name -> [slots, D]; meaningless where a sample lacks it


def drawn_slots(tasks: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
    """Positions of slots to compare in a step: the same numbers, at most ``count``, within each experience (KDR).

    Args:
        tasks: experience of each slot.
        count: slots of each experience; fewer of those that have fewer.
        generator: on the CPU.
    """
    slots: dict[int, list[int]] = {}
    for position, task in enumerate(tasks):
        slots.setdefault(task, []).append(position)
    numbers = torch.randperm(max(map(len, slots.values()), default=0), generator=generator)[:count].tolist()
    return [own[number] for own in slots.values() for number in numbers if number < len(own)]


@torch.no_grad()
def remember(state: StoredFeatures, learner: Learner, count: int, encode: Encode, generator: torch.Generator) -> None:
    """Keep up to ``count`` random samples of the current experience with what ``encode`` makes of them now."""
    samples = learner.current.samples
    chosen = torch.randperm(len(samples), generator=generator)[:count].tolist()
    with auxiliary_pass(learner.model):
        parts = [encode(batch.inputs) for batch in learner.one_pass(Subset(samples, chosen))]
    earlier, device = len(state.records), learner.device
    state.records.extend(by_value(samples[index]) for index in chosen)
    new = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name in {*state.features, *new}:
        width = (new if name in new else state.features)[name].shape[1]
        old = state.features.get(name, torch.zeros(earlier, width, device=device))
        state.features[name] = torch.cat([old, new.get(name, torch.zeros(len(chosen), width, device=device))])


def recalled(state: StoredFeatures, learner: Learner, slots: Sequence[int]) -> tuple[Batch, dict[str, Tensor]]:
    """The samples of some slots, un-augmented and on the device, and their stored features."""
    (batch,) = learner.one_pass(Subset(Memory(state.records), slots), len(slots))
    rows = torch.tensor(slots, device=learner.device)
    return batch, {name: features[rows] for name, features in state.features.items()}
