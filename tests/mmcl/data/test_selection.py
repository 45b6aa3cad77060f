"""Reservoirs, balanced memories and herding keep what they should keep."""

from collections import Counter
from collections.abc import Sequence
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl.data.selection import (
    REJECTED,
    given_up,
    herding,
    largest_keys,
    reservoir_contents,
    reservoir_slot,
    reservoir_slots,
)


def kept(keys: Sequence[float], groups: Sequence[int], size: int) -> list[int]:
    """Stream positions that stay when every item enters with its key and the memory gives up what is too much."""
    inside: list[int] = []
    closed: dict[int, float] = {}
    for position, (key, group) in enumerate(zip(keys, groups, strict=True)):
        if key <= closed.get(group, -inf):
            continue
        inside.append(position)
        while len(inside) > size:
            leaving = inside.pop(given_up([keys[i] for i in inside], [groups[i] for i in inside]))
            closed[groups[leaving]] = keys[leaving]
    return inside


def distinct_keys(length: int, seed: int) -> list[float]:
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed)).double().tolist()


STREAMS = st.lists(st.integers(0, 3), max_size=40)


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


@given(STREAMS, st.integers(0, 8), st.integers(0, 99))
@settings(deadline=None)
def test_one_group_with_random_keys_is_a_reservoir(groups: list[int], size: int, seed: int) -> None:
    keys = distinct_keys(len(groups), seed)
    inside = kept(keys, [0] * len(keys), size)
    assert sorted(inside) == sorted(largest_keys(torch.tensor(keys), size).tolist())


@given(STREAMS, st.integers(0, 8), st.integers(0, 99))
def test_a_balanced_memory_is_full_as_soon_as_it_can_be_and_no_class_has_much_more_than_another(
    groups: list[int], size: int, seed: int
) -> None:
    inside = kept(distinct_keys(len(groups), seed), groups, size)
    assert len(inside) == min(size, len(groups))
    counts, offered = Counter(groups[i] for i in inside), Counter(groups)
    for group in offered:
        # whoever has less than the largest by two or more has never lost anything
        assert counts[group] >= max(counts.values(), default=0) - 1 or counts[group] == offered[group]


@given(STREAMS, st.integers(0, 8), st.integers(0, 99), st.integers(0, 99))
def test_how_many_items_each_class_has_does_not_depend_on_chance(
    groups: list[int], size: int, seed: int, other: int
) -> None:
    counts = [Counter(groups[i] for i in kept(distinct_keys(len(groups), s), groups, size)) for s in (seed, other)]
    assert counts[0] == counts[1]


@given(STREAMS, st.integers(0, 8), st.integers(0, 99))
def test_each_class_keeps_its_largest_keys(groups: list[int], size: int, seed: int) -> None:
    keys = distinct_keys(len(groups), seed)
    inside = kept(keys, groups, size)
    for group in set(groups):
        own = [i for i, g in enumerate(groups) if g == group]
        stay = [i for i in own if i in inside]
        assert stay == sorted(sorted(own, key=keys.__getitem__)[len(own) - len(stay) :])


@given(STREAMS, st.integers(0, 8))
def test_a_ring_keeps_the_latest_items_of_each_class(groups: list[int], size: int) -> None:
    inside = kept([float(i) for i in range(len(groups))], groups, size)
    for group in set(groups):
        own = [i for i, g in enumerate(groups) if g == group]
        stay = [i for i in own if i in inside]
        assert stay == own[len(own) - len(stay) :]


def test_every_item_of_a_class_is_kept_with_equal_probability() -> None:
    groups, size, rounds = [0] * 12 + [1] * 8 + [0] * 4 + [2] * 2, 6, 3000
    share = torch.zeros(len(groups))
    for row in torch.rand(rounds, len(groups), generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        for item in kept(row.tolist(), groups, size):
            share[item] += 1 / rounds
    for group in range(3):
        own = share[[g == group for g in groups]]
        assert float((own - 2 / len(own)).abs().max()) < 0.03


@given(st.integers(1, 12), st.integers(0, 15), st.integers(0, 99), st.booleans())
@settings(deadline=None)
def test_herding_follows_its_definition_step_by_step(n: int, count: int, seed: int, unit_mean: bool) -> None:
    features = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    unit = features / features.norm(dim=1, keepdim=True)
    mean = unit.mean(0) / (unit.mean(0).norm() if unit_mean else 1.0)
    order = herding(features, count, unit_mean=unit_mean)
    assert len(order) == len(set(order)) == min(n, count)
    for k, taken in enumerate(order, start=1):
        before = unit[order[: k - 1]].sum(0)
        distance = [float((mean - (unit[i] + before) / k).norm()) for i in range(n)]
        rest = [i for i in range(n) if i not in order[: k - 1]]
        assert distance[taken] <= min(distance[i] for i in rest) + 1e-7


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 99))
@settings(deadline=None)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(n: int, count: int, seed: int) -> None:
    features = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    assert herding(features, count) == herding(features, n)[:count]


def test_herding_is_neither_the_nearest_to_the_mean_nor_chance() -> None:
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    unit = features / features.norm(dim=1, keepdim=True)
    nearest = (unit - unit.mean(0)).norm(dim=1).argsort()[:8]
    random = torch.randperm(40, generator=torch.Generator().manual_seed(2))[:8]

    def gap(chosen: list[int]) -> float:
        return float((unit[chosen].mean(0) - unit.mean(0)).norm())

    order = herding(features, 8)
    assert order[0] == int(nearest[0])
    assert gap(order) < 0.3 * min(gap(nearest.tolist()), gap(random.tolist()))


@pytest.mark.parametrize("copies", [2, 5])
def test_of_equal_items_herding_takes_the_first_first(copies: int) -> None:
    pattern = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = herding(pattern.repeat(copies, 1), 3 * copies)
    for item in range(3):
        own = [i for i in order if i % 3 == item]
        assert own == sorted(own)


def test_the_length_of_features_plays_no_part_in_herding() -> None:
    features = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert herding(features * torch.arange(1.0, 11).unsqueeze(1), 10) == herding(features, 10)
