"""Rows are told apart by what they hold, and the split is drawn by that."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmcl.data.content import content_key
from mmcl.data.holdout import held_back
from mmcl.errors import DataError


def picture(mode: str = "RGB", size: tuple[int, int] = (2, 3), colour: Any = (1, 2, 3)) -> Image.Image:
    return Image.new(mode, size, colour)


def paletted(colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("P", (2, 2))
    image.putpalette(colour)
    return image


OTHERS = [
    picture(),
    picture(size=(3, 2)),
    picture(colour=(1, 2, 4)),
    picture("L", colour=1),
    picture("RGBA", colour=(1, 2, 3, 255)),
    paletted((1, 2, 3)),
    paletted((1, 2, 4)),
    np.zeros(4, np.uint8),
    np.zeros((2, 2), np.uint8),
    np.zeros(4, np.int16),
    np.arange(4.0),
    torch.zeros(4),
    torch.zeros(4, dtype=torch.bfloat16),
    torch.zeros(()),
    torch.tensor([True]),
    "",
    "1",
    1,
    1.0,
    True,
    None,
    b"1",
    [],
    ["a", "b"],
    ["ab"],
    [["a"], "b"],
    {"text": "a"},
    {"text": "a", "image": None},
]


def test_different_values_have_different_keys() -> None:
    assert len({content_key(value) for value in OTHERS}) == len(OTHERS)


def test_equal_values_have_equal_keys_whatever_they_are_kept_in(tmp_path: Any) -> None:
    picture().save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert content_key(read) == content_key(picture())
    numbers = np.arange(6.0).reshape(2, 3)
    turned = np.ascontiguousarray(numbers.T).T
    assert len({content_key(n) for n in (numbers, turned, numbers.astype(">f8"), torch.from_numpy(numbers))}) == 1
    assert content_key(np.array(["a", "b"], dtype=object)) == content_key(("a", "b"))
    assert content_key(np.int64(3)) == content_key(3)
    assert content_key({"b": 1, "a": 2}) == content_key({"a": 2, "b": 1})


def test_a_key_is_the_same_on_every_machine() -> None:
    assert content_key({"text": "owl", "image": picture()}) == (
        "f645aa01ea482d414f9783e32c27c2438d73c762ec9d996200fa12f6e552a465"
    )


def test_what_has_no_content_is_refused() -> None:
    with pytest.raises(DataError, match="value of type object"):
        content_key({"image": object()})


def test_a_fifth_of_every_class_is_held_back_and_always_the_same() -> None:
    labels, keys = [0] * 10 + [1] * 2 + [2] * 7, [f"{row}.png" for row in range(19)]
    train, test = held_back(labels, "abc", keys, "data")
    assert sorted(train + test) == list(range(19))
    assert Counter(labels[row] for row in test) == {0: 2, 1: 1, 2: 1}
    assert test == [1, 9, 11, 14]


@given(order=st.permutations(range(30)))
def test_the_order_of_rows_is_nothing_to_the_split(order: list[int]) -> None:
    labels, keys = [row % 3 for row in range(30)], [f"{row // 2}.png" for row in range(30)]
    _, test = held_back(labels, "abc", keys, "data")
    _, moved = held_back([labels[row] for row in order], "abc", [keys[row] for row in order], "data")
    assert sorted((labels[row], keys[row]) for row in test) == sorted(
        (labels[order[row]], keys[order[row]]) for row in moved
    )


def test_another_class_moves_no_row_to_the_other_side() -> None:
    keys = [f"{row}.png" for row in range(20)]
    alone = held_back([0] * 10, "ab", keys[:10], "data")
    _, both = held_back([0] * 10 + [1] * 10, "ab", keys, "data")
    assert [row for row in both if row < 10] == alone[1]


def test_rows_of_one_content_are_split_too() -> None:
    train, test = held_back([0] * 5, "a", ["same"] * 5, "data")
    assert (len(train), len(test)) == (4, 1)


def test_a_class_with_a_single_row_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class 'b' has a single row"):
        held_back([0, 0, 1], "ab", ["x", "y", "z"], "data")
