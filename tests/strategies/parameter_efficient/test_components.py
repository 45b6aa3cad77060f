"""Components are weighed by cosines of either sign, new ones begin orthogonal to those before as far as these are."""

import pytest
import torch
from mmcl_strategies.parameter_efficient.components import composed, fresh_rows, halves, orthogonality
from mmcl_strategies.parameter_efficient.prefixes import attended, by_head
from torch import Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weights_are_cosines_of_what_each_component_looks_at_and_may_be_negative() -> None:
    query, keys = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0], [-3.0, 0.0], [1.0, 1.0]])
    looks = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 7.0]])
    components = torch.eye(3).unsqueeze(1)
    found = composed(query, keys, looks, components)
    torch.testing.assert_close(found, torch.tensor([[[1.0, -1.0, 0.5**0.5]]]))


def test_a_component_that_nobody_asks_for_adds_nothing_and_there_is_no_choice_among_them() -> None:
    query, keys, looks, components = drawn(3, 5), drawn(4, 5, seed=1), drawn(4, 5, seed=2), drawn(4, 2, 6, seed=3)
    whole = composed(query, keys, looks, components)
    parts = [composed(query, keys[[m]], looks[[m]], components[[m]]) for m in range(4)]
    torch.testing.assert_close(whole, torch.stack(parts).sum(0))


def test_the_first_half_of_a_prompt_are_keys() -> None:
    keys, values = halves(torch.arange(4.0).reshape(1, 4, 1))
    assert keys.flatten().tolist() == [0.0, 1.0]
    assert values.flatten().tolist() == [2.0, 3.0]


def test_the_penalty_is_the_mean_over_all_entries() -> None:
    assert float(orthogonality(torch.eye(3)[:2])) == 0.0
    assert float(orthogonality(torch.tensor([[2.0, 0.0], [1.0, 0.0]]))) == pytest.approx((9 + 4 + 4 + 0) / 4)
    rows = drawn(3, 2, 4)
    torch.testing.assert_close(orthogonality(rows), orthogonality(rows.reshape(3, 8)))


@pytest.mark.parametrize("start", ["projected", "orthogonal"])
def test_first_rows_are_orthonormal(start: str) -> None:
    rows = fresh_rows(torch.empty(0, 12, dtype=torch.float64), 5, start)  # type: ignore[arg-type]
    torch.testing.assert_close(rows @ rows.T, torch.eye(5, dtype=torch.float64), atol=1e-10, rtol=0)


def test_later_rows_are_orthogonal_to_trained_ones_where_that_is_asked_for() -> None:
    earlier = drawn(4, 12)
    left = {}
    for start in ("projected", "orthogonal"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            rows = fresh_rows(earlier, 3, start)  # type: ignore[arg-type]
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(3, dtype=torch.float64))
        left[start] = float((rows @ earlier.T).abs().max())
    assert left["orthogonal"] < 1e-10
    assert left["projected"] > 1e-2


def test_the_projections_on_all_rows_before_are_taken_from_what_was_drawn() -> None:
    earlier = drawn(2, 6)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        (found,) = fresh_rows(earlier, 1, "projected")
        torch.manual_seed(3)
        vector = torch.randn(6, dtype=torch.float64)
    rest = vector.clone()
    for row in earlier:
        rest -= (row @ vector) / (row @ row) * row
    torch.testing.assert_close(found, rest / rest.norm())


@pytest.mark.parametrize("start", ["projected", "orthogonal"])
def test_more_rows_than_dimensions_are_still_finite_and_of_unit_length(start: str) -> None:
    rows = fresh_rows(torch.empty(0, 3), 6, start)  # type: ignore[arg-type]
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(6))


def test_a_prefix_takes_part_in_one_softmax_and_is_never_masked() -> None:
    queries, keys, values = (drawn(2, 3, 4, 5, seed=seed) for seed in range(3))
    prefix_keys, prefix_values = drawn(2, 2, 15, seed=3), drawn(2, 2, 15, seed=4)
    mask = torch.full((4, 4), -torch.inf, dtype=torch.float64).triu(1)
    found = attended((queries, keys, values), (prefix_keys, prefix_values), mask)
    for row in range(2):
        for head in range(3):
            of_head = slice(5 * head, 5 * head + 5)
            every = torch.cat([prefix_keys[row, :, of_head], keys[row, head]])
            scores = queries[row, head] @ every.T / 5**0.5
            scores[:, 2:] += mask
            expected = scores.softmax(1) @ torch.cat([prefix_values[row, :, of_head], values[row, head]])
            torch.testing.assert_close(found[row, head], expected)


def test_heads_have_neighbouring_channels() -> None:
    assert by_head(torch.arange(6.0).reshape(1, 1, 6), 2).tolist() == [[[[0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0]]]]
