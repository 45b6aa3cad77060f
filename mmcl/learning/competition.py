"""Competition: which classes compete for a prediction, as the scenario says it."""

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario


class Competition:
    """Keeps the label spaces of the experiences met so far and joins them as they are needed.

    Joined spaces are kept, because heads recognise a label space by identity.

    Attributes:
        seen: the experiences met, in order.
    """

    def __init__(self, scenario: Scenario, device: torch.device) -> None:
        self.scenario = scenario
        self.device = device
        self.seen: list[Experience] = []
        self._spaces: dict[int, LabelSpace] = {}
        self._unions: dict[tuple[int, ...], tuple[LabelSpace, Tensor]] = {}
        self._at_test: dict[tuple[int, int], LabelSpace] = {}

    def meet(self, experience: Experience) -> bool:
        """Take note of an experience; whether it was new."""
        if experience.index in self._spaces:
            return False
        self.seen.append(experience)
        self._spaces[experience.index] = experience.label_space.for_training
        return True

    def label_space_of(self, task_id: int) -> LabelSpace:
        """The classes of an experience met before, with their training prompts."""
        return self._spaces[task_id]

    def in_batch(self, task_ids: Tensor, own: bool) -> tuple[LabelSpace, Tensor | None]:
        """The classes that compete in a training batch, and ``bool[B, C]`` if not all of them do in every row.

        Args:
            task_ids: ``int64[B]``.
            own: whether only the classes of a sample's own experience compete. A batch may mix experiences (replay):
                its label space is the union, and each row has the classes of its own experience.
        """
        tasks = tuple(task_ids.unique().tolist()) if own else tuple(self._spaces)
        if tasks not in self._unions:
            self._unions[tasks] = self._union(tasks)
        space, member = self._unions[tasks]
        if not own or len(tasks) == 1:
            return space, None
        return space, member[torch.searchsorted(task_ids.new_tensor(tasks), task_ids)]

    def at_test(self, experience: Experience) -> LabelSpace:
        """The classes that compete at test time, with all their prompts.

        An experience that has not been met is scored among the classes seen so far and its own.
        """
        own = experience.label_space
        if self.scenario.label_space_at_test != "seen":
            return own
        key = experience.index, len(self.seen)
        if key not in self._at_test:
            space = LabelSpace()
            for met in self.seen:
                space = space.union(met.label_space)
            self._at_test[key] = space.union(own)
        return self._at_test[key]

    def _union(self, tasks: tuple[int, ...]) -> tuple[LabelSpace, Tensor]:
        """The classes of several experiences and ``bool[T, C]``: which of them belong to which experience."""
        space = self._spaces[tasks[0]]
        for task in tasks[1:]:
            space = space.union(self._spaces[task])
        member = torch.zeros(len(tasks), len(space), dtype=torch.bool)
        for row, task in enumerate(tasks):
            member[row, space.columns(torch.tensor(self._spaces[task].ids, dtype=torch.long))] = True
        return space, member.to(self.device)
