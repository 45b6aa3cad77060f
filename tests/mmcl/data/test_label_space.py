"""Label spaces: ids that are places in a table, and targets that are ids."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmcl.data.label_space import MOST_ID, ClassLabel, LabelSpace
from mmcl.data.targets import check_targets
from mmcl.errors import DataError
from mmcl.testing.toy import toy_benchmark


@pytest.mark.parametrize("id_", [-1, -2, 10**9, 10**18, MOST_ID + 1, 1.5, True, "1", None, float("nan")])
def test_an_id_that_is_no_place_is_refused(id_: Any) -> None:
    with pytest.raises(DataError, match=r"class 'owl': the id .*a whole number from 0 to 10000000"):
        LabelSpace((ClassLabel(0, "fox"), ClassLabel(id_, "owl")))


def test_an_id_of_two_classes_is_refused_whatever_they_are_called() -> None:
    for name in ("owl", "fox"):
        with pytest.raises(DataError, match=f"class '{name}': the id 3, which is that of 'fox' too"):
            LabelSpace((ClassLabel(3, "fox"), ClassLabel(3, name)))
    with pytest.raises(DataError, match="the id 0"):
        LabelSpace.from_list([{"id": 0, "name": "a", "templates": ["{}"]}] * 2)


@given(st.lists(st.integers(0, 300) | st.sampled_from([MOST_ID, 10**6]), unique=True, max_size=20), st.data())
def test_columns_are_the_places_of_ids_and_below_0_of_everything_else(ids: list[int], data: st.DataObject) -> None:
    space = LabelSpace(tuple(ClassLabel(id_, f"class {id_}") for id_ in ids))
    asked = data.draw(st.lists(st.integers(-(2**40), 2**40) | st.sampled_from([*ids, -1]), max_size=20))
    expected = [ids.index(id_) if id_ in ids else -1 for id_ in asked]
    assert space.columns(torch.tensor(asked, dtype=torch.long)).tolist() == expected


def test_numpy_numbers_are_ids() -> None:
    assert LabelSpace((ClassLabel(np.int64(4), "fox"),)).columns(torch.tensor([4])).tolist() == [0]  # type: ignore[arg-type]


def test_a_target_outside_its_space_is_named_with_its_row_and_sample() -> None:
    experience = toy_benchmark().train[0]
    check_targets(experience.samples, experience.label_space, "them")
    lesser = LabelSpace(experience.label_space.classes[1:])
    gone = experience.label_space.ids[0]
    row = next(row for row in range(len(experience.samples)) if experience.samples[row].target == gone)
    sample_id = experience.samples[row].sample_id
    with pytest.raises(DataError, match=f"them: row {row}, sample '{sample_id}', has the target {gone}"):
        check_targets(experience.samples, lesser, "them")
