"""Merging of task vectors: what it is of all vectors together, and that nothing grows with their number."""

import pytest
import torch
from mmcl_strategies.parameter_efficient.merging import (
    TIES,
    Kept,
    MagMax,
    Merging,
    TaskArithmetic,
    added,
    farthest,
    task_vector,
    trimmed,
)
from peft.utils import merge_utils
from torch import Tensor

EVERY = [TaskArithmetic(), TIES(0.3), MagMax()]


def vectors(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (6, 5), "bias": (7,)}
    return [
        {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()} for _ in range(count)
    ]


def merged(merging: Merging, found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    kept: Kept = {}
    for vector in found:
        kept = merging.joined(kept, vector)
    return merging.merged(kept)


def flat(vector: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in vector.values()])


@pytest.mark.parametrize("density", [0.2, 0.55])
def test_sums_of_ties_say_what_peft_says_of_all_vectors_together(density: float) -> None:
    found = vectors(9)
    expected = merge_utils.ties([flat(vector) for vector in found], torch.ones(9, dtype=torch.float64), density)
    torch.testing.assert_close(flat(merged(TIES(density), found)), expected, rtol=1e-12, atol=1e-12)


def test_the_sum_is_pefts_of_all_vectors_together() -> None:
    found = vectors(9)
    expected = merge_utils.task_arithmetic([flat(vector) for vector in found], torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(flat(merged(TaskArithmetic(), found)), expected, rtol=1e-12, atol=1e-12)


def test_the_farthest_is_that_of_all_vectors_together_and_has_their_bits() -> None:
    found = torch.stack([flat(vector) for vector in vectors(9)])
    expected = found.gather(0, found.abs().argmax(0, keepdim=True))[0]
    assert torch.equal(flat(merged(MagMax(), vectors(9))), expected)


@pytest.mark.parametrize("merging", EVERY, ids=lambda merging: type(merging).__name__)
def test_the_order_of_vectors_decides_nothing(merging: Merging) -> None:
    found = vectors(7)
    torch.testing.assert_close(merged(merging, found), merged(merging, found[::-1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("merging", EVERY, ids=lambda merging: type(merging).__name__)
def test_three_hundred_vectors_take_the_room_of_one(merging: Merging) -> None:
    kept: Kept = {}
    sizes = set()
    for vector in vectors(300):
        kept = merging.joined(kept, vector)
        sizes.add(sum(part.untyped_storage().nbytes() for of in kept.values() for part in of.values()))
    assert len(sizes) == 1
    if isinstance(merging, TIES):
        found = [flat(vector) for vector in vectors(300)]
        expected = merge_utils.ties(found, torch.ones(300, dtype=torch.float64), 0.3)
        torch.testing.assert_close(flat(merging.merged(kept)), expected, rtol=1e-10, atol=1e-12)


def test_vectors_are_trimmed_as_a_whole_and_not_each_parameter_for_itself() -> None:
    vector = {"large": torch.tensor([[9.0, -8.0], [7.0, 6.0]]), "small": torch.tensor([0.1, -0.2, 0.3, 0.4])}
    left = trimmed(vector, 0.5)
    assert torch.equal(left["large"], vector["large"])
    assert not left["small"].any()
    assert all(torch.equal(part, vector[name]) for name, part in trimmed(vector, 1.0).items())


def test_entries_that_lost_the_election_count_in_no_mean() -> None:
    found = [{"w": torch.tensor([value])} for value in (4.0, 2.0, -5.0, 0.0)]
    assert merged(TIES(1.0), found)["w"].item() == 3.0
    assert merged(TIES(1.0), [{"w": -vector["w"]} for vector in found])["w"].item() == -3.0


def test_the_sign_of_the_farthest_is_kept_and_the_later_of_two_equals() -> None:
    assert farthest(torch.tensor([1.0, -3.0, 2.0]), torch.tensor([-2.0, 2.0, -2.0])).tolist() == [-2.0, -3.0, -2.0]


def test_scales_are_those_of_magmaxs_code() -> None:
    assert [[merging.scale(count) for count in (1, 4)] for merging in EVERY] == [[1.0, 0.25], [0.55, 0.55], [0.5, 0.5]]


def test_what_is_not_in_the_initial_weights_in_this_shape_has_no_vector() -> None:
    initial = {"a": torch.zeros(2), "b": torch.zeros(2)}
    vector = task_vector({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}, initial)
    assert vector.keys() == {"a"}
    assert added(initial, vector, 0.5)["a"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("merging", EVERY, ids=lambda merging: type(merging).__name__)
def test_what_an_experience_does_not_train_keeps_what_others_have_given_it(merging: Merging) -> None:
    first, second = vectors(2)
    del second["bias"]
    alone, both = merged(merging, [first]), merged(merging, [first, second])
    assert both.keys() == alone.keys()
    assert torch.equal(both["bias"], alone["bias"])
