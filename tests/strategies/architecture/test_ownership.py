"""Which classifier a class belongs to: that of the experience that brought it, or of the sample's own."""

import torch
from mmcl_strategies.architecture.ownership import Ownership, row_of
from torch import Tensor

from mmcl.data.label_space import LabelSpace

A, B, C = (LabelSpace.of([f"class {i}" for i in range(4)], first_id=first) for first in (0, 4, 2))


def owned(*spaces: LabelSpace) -> Ownership:
    ownership = Ownership()
    for number, space in enumerate(spaces):
        ownership.add(10 + number, space)
    return ownership


def scores(asked: list[int]) -> "object":
    def score(row: int) -> Tensor:
        asked.append(row)
        return torch.arange(4.0).repeat(3, 1) + 10 * row

    return score


def test_places_of_experiences() -> None:
    assert row_of(torch.tensor([11, 10, 7, -1]), [10, 11]).tolist() == [1, 0, -1, -1]
    assert row_of(torch.tensor([0]), []).tolist() == [-1]


def test_a_class_is_known_once_an_experience_has_brought_it() -> None:
    assert owned(A).knows(A)
    assert not owned(A).knows(C)
    assert owned(A, B).knows(C)


def test_columns_come_from_the_owner_of_each_class_in_the_order_asked_for() -> None:
    asked: list[int] = []
    mixed = LabelSpace((B.classes[1], A.classes[3], B.classes[0]))
    found = owned(A, B).gather(mixed, torch.tensor([10, 11, 10]), scores(asked))  # type: ignore[arg-type]
    assert found.tolist() == [[11.0, 3.0, 10.0]] * 3
    assert sorted(asked) == [0, 1]


def test_only_the_owners_are_asked() -> None:
    asked: list[int] = []
    owned(A, B).gather(B, torch.tensor([10, 10, 10]), scores(asked))  # type: ignore[arg-type]
    assert asked == [1]


def test_a_class_of_two_experiences_is_judged_by_the_samples_own_and_otherwise_by_the_first() -> None:
    asked: list[int] = []
    found = owned(A, C).gather(C, torch.tensor([10, 11, 99]), scores(asked))  # type: ignore[arg-type]
    # classes 2 and 3 are in both, 4 and 5 in the second alone
    assert found.tolist() == [[2.0, 3.0, 12.0, 13.0], [10.0, 11.0, 12.0, 13.0], [2.0, 3.0, 12.0, 13.0]]


def test_without_task_ids_the_first_owner_judges() -> None:
    found = owned(A, C).gather(C, None, scores([]))  # type: ignore[arg-type]
    assert found.tolist() == [[2.0, 3.0, 12.0, 13.0]] * 3
