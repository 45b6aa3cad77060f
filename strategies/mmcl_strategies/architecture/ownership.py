"""Which of several classifiers a class belongs to, where every experience has brought one of its own."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmcl.data.label_space import LabelSpace


class Ownership:
    """One row per experience, in the order in which they were met.

    A class belongs to the experience that brought it. If several did, a sample of one of them is judged by its own
    experience, and any other sample by the first.

    Attributes:
        tasks: index of each experience.
        spaces: the classes of each.
    """

    def __init__(self) -> None:
        self.tasks: list[int] = []
        self.spaces: list[LabelSpace] = []

    def add(self, task_id: int, label_space: LabelSpace) -> None:
        """An experience with its classes."""
        self.tasks.append(task_id)
        self.spaces.append(label_space)

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether each of the classes has been brought."""
        return set(label_space.ids) <= {id_ for space in self.spaces for id_ in space.ids}

    def owners(self, label_space: LabelSpace, task_ids: Int[Tensor, " B"] | None) -> Int[Tensor, "B_or_1 C"]:
        """The row that each class belongs to, for every sample, or once if all samples agree.

        Args:
            label_space: classes that have been brought.
            task_ids: the experience of each sample, if it is known.
        """
        ids = torch.tensor(label_space.ids, device=None if task_ids is None else task_ids.device)
        brought = torch.stack([space.columns(ids) >= 0 for space in self.spaces])
        first = brought.int().argmax(0)
        if task_ids is None or not bool((brought.sum(0) > 1).any()):
            return first.unsqueeze(0)
        rows = row_of(task_ids, self.tasks)
        own = brought[rows] & (rows >= 0).unsqueeze(1)
        return torch.where(own, rows.unsqueeze(1), first)

    def gather(
        self,
        label_space: LabelSpace,
        task_ids: Int[Tensor, " B"] | None,
        score: Callable[[int], Float[Tensor, "samples classes"]],
    ) -> Float[Tensor, "samples C"]:
        """The scores of classes that may belong to several experiences.

        Args:
            label_space: classes that have been brought.
            task_ids: the experience of each sample, if it is known.
            score: the scores of all classes of one row, in the order of its label space; asked only where needed.
        """
        owners = self.owners(label_space, task_ids)
        parts = {}
        for row in owners.unique().tolist():
            columns = self.spaces[row].columns(torch.tensor(label_space.ids))  # -1 where the class is not its own
            parts[row] = score(row)[:, columns.to(owners.device)]
        scores = next(iter(parts.values()))
        for row, part in parts.items():
            scores = torch.where(owners == row, part, scores)
        return scores


def row_of(task_ids: Int[Tensor, " B"], tasks: Sequence[int]) -> Int[Tensor, " B"]:
    """The place of each task id among ``tasks``, -1 where it is not there."""
    same = task_ids.unsqueeze(1) == torch.tensor(tasks, dtype=torch.long, device=task_ids.device)
    place = torch.cat([same, same.new_ones(len(task_ids), 1)], dim=1).int().argmax(1)
    return torch.where(place == len(tasks), -1, place)
