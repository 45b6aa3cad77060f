"""Whatever is done with a batch, nothing that belongs to its rows is lost."""

import inspect
from collections.abc import Callable

import pytest
import torch
from mmcl_strategies.replay.nearest_mean import mirrored

from mmcl.data.asked import NOTHING, Asked
from mmcl.data.collate import Collator, concatenate
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.route import Route
from mmcl.data.sample import Batch, Inputs
from mmcl.errors import DataError

SPACE = LabelSpace.of(["a", "b", "c"])
FIELDS = [name for name in inspect.signature(Inputs.__init__).parameters if name != "self"]
SPECS = {IMAGE: ModalitySpec((3, 2, 2)), TEXT: ModalitySpec((4,), torch.int64)}


def inputs(first: int = 0) -> Inputs:
    """Three rows in which every field says something that is no default."""
    rows = torch.arange(first, first + 3)
    return Inputs(
        values={IMAGE: rows.float().reshape(3, 1, 1, 1).expand(3, 3, 2, 2), TEXT: rows.reshape(3, 1).expand(3, 4)},
        present={IMAGE: torch.ones(3, dtype=torch.bool), TEXT: rows % 2 == 0},
        sample_ids=tuple(f"sample {row}" for row in rows.tolist()),
        task_ids=rows,
        asked=Asked(SPACE, rows.reshape(3, 1) % 2 == torch.arange(3) % 2),
        whole=frozenset({IMAGE}),
        route=Route(rows - 1, rows / 10, rows.reshape(3, 1).float(), rows / 20, torch.stack([rows, rows + 1], dim=1)),
    )


def batch(first: int = 0) -> Batch:
    made = inputs(first)
    assert made.task_ids is not None
    return Batch(made, made.task_ids.clone(), made.task_ids.clone())


def same(one: Inputs, other: Inputs, field: str) -> bool:
    if field == "values":
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    found, expected = getattr(one, field), getattr(other, field)
    if field == "present":
        return bool(found.keys() == expected.keys()) and all(torch.equal(found[name], expected[name]) for name in found)
    if field == "route":
        return all(torch.equal(one_part, other_part) for one_part, other_part in zip(found, expected, strict=True))
    if field == "asked":
        return bool(found.label_space == expected.label_space) and torch.equal(found.allowed, expected.allowed)
    return torch.equal(found, expected) if isinstance(found, torch.Tensor) else bool(found == expected)


def halves(made: Inputs) -> Inputs:
    first = made.select(torch.tensor([True, False, False]))
    return first.followed_by(made.select(torch.tensor([1, 2])))


OPERATIONS: dict[str, Callable[[Inputs], Inputs]] = {
    "replace": lambda made: made.replace(),
    "to": lambda made: made.to("cpu"),
    "with_task_ids": lambda made: made.with_task_ids(made.task_ids),
    "select": lambda made: made.select(torch.arange(3)),
    "select and followed_by": halves,
    "complete": lambda made: Collator(SPECS).complete(Batch(made, torch.arange(3), torch.arange(3))).inputs,
    "mirrored": mirrored,
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_field_survives(operation: str, field: str) -> None:
    assert same(OPERATIONS[operation](inputs()), inputs(), field)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_changed_by_its_name_alone(field: str) -> None:
    other = inputs(3)
    value = dict(other) if field == "values" else getattr(other, field)
    changed = inputs().replace(**{field: frozenset() if field == "whole" else value})
    assert not same(changed, inputs(), field)
    assert all(same(changed, inputs(), kept) for kept in FIELDS if kept != field)


def test_two_batches_become_one_with_the_rows_of_both() -> None:
    joined = concatenate(batch(0), batch(3)).inputs
    for rows, part in ((slice(0, 3), inputs(0)), (slice(3, 6), inputs(3))):
        assert torch.equal(joined[IMAGE][rows], part[IMAGE])
        assert joined.sample_ids[rows] == part.sample_ids
        assert torch.equal(joined.asked.allowed[rows], part.asked.allowed)  # type: ignore[index, arg-type]
    assert joined.whole == {IMAGE}


def test_batches_that_are_asked_about_different_classes_are_asked_nothing_yet() -> None:
    other = batch(3)
    other = other._replace(inputs=other.inputs.replace(asked=Asked(LabelSpace.of(["z"]))))
    assert concatenate(batch(0), other).inputs.asked is NOTHING


def test_rows_of_a_batch_in_which_all_classes_compete_stay_so_beside_others() -> None:
    free = batch(0)
    free = free._replace(inputs=free.inputs.replace(asked=Asked(SPACE)))
    allowed = concatenate(free, batch(3)).inputs.asked.allowed
    assert allowed is not None
    assert bool(allowed[:3].all())
    assert torch.equal(allowed[3:], inputs(3).asked.allowed)  # type: ignore[arg-type]


def test_targets_that_are_no_classes_are_not_read_as_labels() -> None:
    assert batch().labels.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"targets of type torch.float32.*Need\.CLASSES"):
        _ = batch()._replace(targets=torch.rand(3)).labels
