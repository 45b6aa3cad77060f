"""Reservoir sampling keeps what it should keep."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl.data.selection import REJECTED, largest_keys, reservoir_contents, reservoir_slot, reservoir_slots


def test_every_item_is_kept_with_equal_probability() -> None:
    size, length, rounds = 3, 10, 4000
    draws = torch.rand(rounds, length, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    kept = torch.zeros(length)
    for row in draws:
        for item in reservoir_contents(reservoir_slots(0, size, row), size):
            kept[item] += 1 / rounds
    assert float((kept - size / length).abs().max()) < 0.03


@given(st.integers(0, 5), st.lists(st.floats(0, 1, exclude_max=True), max_size=30))
def test_slots_lie_in_the_memory_and_fill_it_first(size: int, draws: list[float]) -> None:
    slots = reservoir_slots(0, size, draws)
    assert slots[:size] == list(range(min(size, len(draws))))
    assert all(slot == REJECTED or 0 <= slot < size for slot in slots)
    contents = reservoir_contents(slots, size)
    assert len(contents) == size
    assert contents.count(-1) == max(0, size - len(draws))
    kept = [item for item in contents if item >= 0]
    assert len(set(kept)) == len(kept)


@given(st.integers(0, 4), st.lists(st.floats(0, 1, exclude_max=True), max_size=20), st.integers(0, 20))
def test_slots_do_not_depend_on_chunks(size: int, draws: list[float], cut: int) -> None:
    cut = min(cut, len(draws))
    parts = reservoir_slots(0, size, draws[:cut]) + reservoir_slots(cut, size, draws[cut:])
    assert parts == reservoir_slots(0, size, draws)


def test_largest_draw_is_rejected_even_after_rounding() -> None:
    assert reservoir_slot(10**9, 1000, 1 - 2**-53) == REJECTED


@given(st.integers(0, 6), st.lists(st.floats(0, 1), max_size=25), st.integers(0, 25))
@settings(deadline=None)
def test_keys_keep_the_same_items_whatever_the_chunks(size: int, values: list[float], cut: int) -> None:
    keys = torch.tensor(values, dtype=torch.float64)
    first = largest_keys(keys[:cut], size)
    joined = torch.cat([first, torch.arange(min(cut, len(keys)), len(keys))])
    in_chunks = joined[largest_keys(keys[joined], size)]
    at_once = largest_keys(keys, size)
    assert torch.equal(keys[in_chunks], keys[at_once])
    if len(set(values)) == len(values):
        assert torch.equal(in_chunks, at_once)
    assert torch.equal(keys[at_once], keys.sort(descending=True).values[:size])
