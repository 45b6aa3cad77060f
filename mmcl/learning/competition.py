"""Competition: which classes compete for a prediction, as the scenario says it."""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario

_UNIONS = 64  # of mixed batches and of strategies, which ask for the same ones in every step


class Competition:
    """Keeps the label spaces of the experiences met so far and joins them as they are needed.

    What has become too small when another experience is met is dropped: memory grows with the classes, not with their
    unions.

    Attributes:
        seen: the experiences met, in order.
    """

    def __init__(self, scenario: Scenario, device: torch.device, every: LabelSpace | None = None) -> None:
        self.scenario = scenario
        self.every = LabelSpace() if every is None else every
        self.device = device
        self.seen: list[Experience] = []
        self._spaces: dict[int, LabelSpace] = {}
        self._in_training = self._at_test = LabelSpace()
        self._joined = lru_cache(_UNIONS)(self._join)

    def meet(self, experience: Experience) -> bool:
        """Take note of an experience; whether it was new."""
        if experience.index in self._spaces:
            return False
        self.seen.append(experience)
        space = experience.label_space.for_training
        self._spaces[experience.index] = space
        self._in_training = self._in_training.union(space)
        self._at_test = self._at_test.union(experience.label_space)
        self._joined.cache_clear()
        return True

    def label_space_of(self, task_id: int) -> LabelSpace:
        """The classes of an experience met before, with their training prompts."""
        return self._spaces[task_id]

    def classes_of(self, tasks: Iterable[int]) -> tuple[LabelSpace, Tensor]:
        """The classes of experiences met before, and ``bool[T, C]``: which of them belong to which experience."""
        return self._joined(tuple(tasks))

    def in_batch(self, task_ids: Tensor, own: bool) -> tuple[LabelSpace, Tensor | None]:
        """The classes that compete in a training batch, and ``bool[B, C]`` if not all of them do in every row.

        Args:
            task_ids: ``int64[B]``.
            own: whether only the classes of a sample's own experience compete. A batch may mix experiences (replay):
                its label space is the union, and each row has the classes of its own experience.
        """
        if not own:
            return self._in_training, None
        tasks = tuple(task_ids.unique().tolist())
        if len(tasks) == 1:
            return self._spaces[tasks[0]], None
        space, member = self._joined(tasks)
        return space, member[torch.searchsorted(task_ids.new_tensor(tasks), task_ids)]

    def at_test(self, experience: Experience) -> LabelSpace:
        """The classes that compete at test time, with all their prompts.

        An experience that has not been met is scored among the classes seen so far and its own.
        """
        if self.scenario.label_space_at_test == "all":
            return self.every.followed_by(self._at_test).followed_by(experience.label_space)
        if self.scenario.label_space_at_test != "seen":
            return experience.label_space
        return self._at_test.followed_by(experience.label_space)

    def _join(self, tasks: tuple[int, ...]) -> tuple[LabelSpace, Tensor]:
        spaces = [self._spaces[task] for task in tasks]
        joined = LabelSpace.joined(spaces)
        return joined, joined.members(spaces).to(self.device)
