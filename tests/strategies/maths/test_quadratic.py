"""Quadratic penalties keep their algebra: folding, growth, in-place gradients, recursions."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.maths.quadratic import (
    Separate,
    accumulate_separate,
    add_quadratic_gradient,
    add_squares,
    class_weighted,
    decay_and_add,
    mean_fisher,
    move_centre,
    moving_average,
    quadratic_penalty,
    separate_penalty,
)
from torch import Tensor

from mmcl.errors import PluginError

SHAPES = {"weight": (3, 2), "bias": (3,), "scale": ()}
Task = tuple[dict[str, Tensor], dict[str, Tensor]]
seeds = st.integers(0, 2**31 - 1)


def random_task(seed: int, dtype: torch.dtype = torch.float64) -> Task:
    generator = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    fisher = {name: draw(shape).square() * (draw(shape) > -0.5) for name, shape in SHAPES.items()}
    return fisher, {name: draw(shape) for name, shape in SHAPES.items()}


def random_weights(seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: tensor.requires_grad_() for name, tensor in random_task(seed, dtype)[1].items()}


def folded(tasks: list[Task]) -> Separate:
    sums = Separate({}, {}, {})
    for fisher, anchor in tasks:
        sums = accumulate_separate(sums, fisher, anchor)
    return sums


@given(seeds, st.integers(1, 6))
@settings(deadline=None, max_examples=40)
def test_folded_penalty_equals_the_sum_of_separate_ones(seed: int, count: int) -> None:
    tasks = [random_task(seed + k) for k in range(count)]
    weights = random_weights(seed + 100)
    one_by_one = torch.stack([quadratic_penalty(weights, fisher, anchor) for fisher, anchor in tasks]).sum()
    torch.testing.assert_close(separate_penalty(weights, *folded(tasks)), one_by_one)


@given(seeds, st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_gradient_in_place_equals_autograd_of_the_penalty(seed: int, count: int) -> None:
    sums = folded([random_task(seed + k) for k in range(count)])
    weights, strength = random_weights(seed + 100), 3.0
    expected = torch.autograd.grad(strength * separate_penalty(weights, *sums), list(weights.values()))
    before = {name: torch.randn_like(tensor) for name, tensor in weights.items()}
    for name, tensor in weights.items():
        tensor.grad = before[name].clone()
    add_quadratic_gradient(weights, sums.fisher, sums.centre, strength)
    for (name, tensor), gradient in zip(weights.items(), expected, strict=True):
        torch.testing.assert_close(tensor.grad, before[name] + gradient)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_single_centre_and_separate_agree_after_one_experience(seed: int) -> None:
    fisher, anchor = random_task(seed)
    weights = random_weights(seed + 1)
    centred = quadratic_penalty(weights, decay_and_add({}, fisher, 1.0), move_centre({}, anchor))
    torch.testing.assert_close(separate_penalty(weights, *folded([(fisher, anchor)])), centred)


def test_penalty_is_zero_before_the_second_experience() -> None:
    weights = random_weights(0)
    assert float(separate_penalty(weights, {}, {}, {}).detach()) == 0.0
    add_quadratic_gradient(weights, {}, {}, 10.0)
    assert all(tensor.grad is None for tensor in weights.values())


def test_small_drifts_survive_in_single_precision() -> None:
    """The expanded form loses half a percent here."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(100_000, generator=generator, dtype=torch.float64)
    tasks = []
    for _ in range(10):
        importance = torch.rand(start.shape, generator=generator, dtype=torch.float64)
        drift = 1e-5 * torch.randn(start.shape, generator=generator, dtype=torch.float64)
        tasks.append(({"w": importance}, {"w": start + drift}))
    here = {"w": start + 1e-5}
    exact = sum(float(quadratic_penalty(here, fisher, anchor)) for fisher, anchor in tasks)
    single = [({"w": fisher["w"].float()}, {"w": anchor["w"].float()}) for fisher, anchor in tasks]
    sums = folded(single)
    rounded = {"w": here["w"].float()}
    centred = quadratic_penalty(rounded, sums.fisher, sums.centre)
    assert float(separate_penalty(rounded, *sums)) == pytest.approx(exact, rel=1e-2)
    moving_part = quadratic_penalty(here, *folded(tasks)[:2])
    assert float(centred) == pytest.approx(float(moving_part), rel=1e-2)
    assert exact >= float(moving_part)


@given(seeds, st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=20)
def test_a_weight_that_rests_at_its_only_solution_is_not_pulled_at_all(seed: int, dtype: torch.dtype) -> None:
    """Not even by a rounding error, which an optimiser that divides by the size of the gradient turns into a step."""
    fisher, anchor = random_task(seed, dtype)
    weights = {name: tensor.clone().requires_grad_() for name, tensor in anchor.items()}
    sums = folded([(fisher, anchor)])
    add_quadratic_gradient(weights, sums.fisher, sums.centre, 1e6)
    assert all(tensor.grad is not None and not tensor.grad.any() for tensor in weights.values())
    assert float(separate_penalty(weights, *sums).detach()) == 0.0


def test_the_centre_stays_where_an_experience_has_no_fisher_and_starts_where_none_had_one() -> None:
    # moved all the way from half a million, a tenth would not be a tenth in single precision
    first = {"w": torch.tensor([0.3, 0.0, 0.7])}, {"w": torch.tensor([0.1, 5e5, 0.3])}
    second = {"w": torch.tensor([0.0, 0.9, 0.7])}, {"w": torch.tensor([5.0, 0.1, 7.0])}
    third = {"w": torch.zeros(3)}, {"w": torch.tensor([8.0, 9.0, 10.0])}
    sums = folded([first, second, third])
    assert torch.equal(sums.centre["w"][:2], torch.tensor([0.1, 0.1]))
    torch.testing.assert_close(sums.centre["w"][2], torch.tensor((0.3 + 7.0) / 2))
    torch.testing.assert_close(sums.constant["w"], torch.tensor(0.7 * 2 * 3.35**2, dtype=torch.float64))


def test_state_never_aliases_live_weights() -> None:
    weights = random_weights(3)
    fisher, _ = random_task(4)
    live = {name: tensor.detach() for name, tensor in weights.items()}
    centre, sums = move_centre({}, live), accumulate_separate(Separate({}, {}, {}), fisher, live)
    copies = [centre["weight"].clone(), sums.fisher["weight"].clone()]
    with torch.no_grad():
        weights["weight"].add_(1.0)
        fisher["weight"].add_(1.0)
    torch.testing.assert_close([centre["weight"], sums.fisher["weight"]], copies)


def test_half_precision_weights_keep_single_precision_state() -> None:
    fisher, anchor = random_task(5, torch.bfloat16)
    sums = folded([(fisher, anchor)])
    assert {tensor.dtype for tensor in (*sums.fisher.values(), *sums.centre.values())} == {torch.float32}
    weights = random_weights(6, torch.bfloat16)
    add_quadratic_gradient(weights, sums.fisher, sums.centre, 1.0)
    assert all(tensor.grad is not None and tensor.grad.dtype == torch.bfloat16 for tensor in weights.values())


@given(seeds, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_new_entries_of_a_grown_tensor_are_free(seed: int, rows: int, columns: int) -> None:
    fisher, anchor = random_task(seed)
    sums = folded([(fisher, anchor)])
    old = random_weights(seed + 1)
    grown = torch.full((3 + rows, 2 + columns), 7.0, dtype=torch.float64)
    grown[:3, :2] = old["weight"].detach()
    weights = old | {"weight": grown.requires_grad_()}
    torch.testing.assert_close(separate_penalty(weights, *sums), separate_penalty(old, *sums))
    add_quadratic_gradient(weights, sums.fisher, sums.centre, 1.0)
    assert grown.grad is not None
    assert float(grown.grad[3:].abs().sum() + grown.grad[:, 2:].abs().sum()) == 0.0


def test_consolidating_a_grown_tensor_pads_with_zeros() -> None:
    first, second = {"w": torch.ones(2)}, {"w": torch.ones(4)}
    sums = folded([(first, {"w": torch.full((2,), 3.0)}), (second, {"w": torch.full((4,), 5.0)})])
    torch.testing.assert_close(sums.fisher["w"], torch.tensor([2.0, 2.0, 1.0, 1.0]))
    torch.testing.assert_close(sums.centre["w"], torch.tensor([4.0, 4.0, 5.0, 5.0]))
    for recursion in (lambda old, new: decay_and_add(old, new, 0.5), lambda old, new: mean_fisher(old, new, 1)):
        assert recursion(first, second)["w"].shape == (4,)
    torch.testing.assert_close(moving_average(first, second, 0.25)["w"], torch.ones(4))


SHRINKING: dict[str, Callable[[dict[str, Tensor], dict[str, Tensor]], object]] = {
    "penalty": lambda large, small: quadratic_penalty(small, large, large),
    "gradient": lambda large, small: add_quadratic_gradient(small, large, large, 1.0),
    "separate": lambda large, small: accumulate_separate(folded([(large, large)]), small, small),
    "decay": lambda large, small: decay_and_add(large, small, 0.9),
    "average": lambda large, small: moving_average(large, small, 0.9),
    "centre": lambda large, small: move_centre(large, small),
}


@pytest.mark.parametrize("operation", SHRINKING.values(), ids=SHRINKING)
@pytest.mark.parametrize("shape", [(2,), (3, 1)])
def test_a_shrunk_or_reshaped_tensor_is_an_error(
    operation: Callable[[dict[str, Tensor], dict[str, Tensor]], object], shape: tuple[int, ...]
) -> None:
    with pytest.raises(PluginError, match="'w'"):
        operation({"w": torch.ones(3)}, {"w": torch.ones(shape, requires_grad=True)})


def test_a_renamed_tensor_is_an_error() -> None:
    remembered = {"old": torch.ones(2)}
    with pytest.raises(PluginError, match="'old'"):
        quadratic_penalty({"new": torch.ones(2)}, remembered, remembered)
    with pytest.raises(PluginError, match="'old'"):
        add_quadratic_gradient({"new": torch.ones(2)}, remembered, remembered, 1.0)


def test_frozen_weights_get_no_gradient_and_keep_their_memory() -> None:
    fisher, anchor = random_task(7)
    weights = random_weights(8)
    weights["bias"].requires_grad_(False)
    add_quadratic_gradient(weights, fisher, anchor, 1.0)
    assert weights["bias"].grad is None
    assert weights["weight"].grad is not None
    observed = {name: tensor for name, tensor in fisher.items() if name != "bias"}
    for later in (decay_and_add(fisher, observed, 0.5), mean_fisher(fisher, observed, 1)):
        torch.testing.assert_close(later["bias"], fisher["bias"])


@given(seeds, st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_recursions_have_their_closed_forms(seed: int, count: int) -> None:
    fishers = [random_task(seed + k)[0] for k in range(count)]
    decayed: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    weighted: dict[str, Tensor] = {}
    for k, fisher in enumerate(fishers):
        decayed = decay_and_add(decayed, fisher, 0.7)
        averaged = mean_fisher(averaged, fisher, k)
        weighted = class_weighted(weighted, fisher, 5 * k, 5, clip=1e9)
    stacked = torch.stack([fisher["weight"] for fisher in fishers])
    powers = 0.7 ** torch.arange(count - 1, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(decayed["weight"], torch.tensordot(powers, stacked, dims=1))
    torch.testing.assert_close(averaged["weight"], stacked.mean(0))
    torch.testing.assert_close(weighted["weight"], stacked.mean(0))


def test_zero_decay_keeps_the_last_fisher_only() -> None:
    first, second = random_task(1)[0], random_task(2)[0]
    torch.testing.assert_close(decay_and_add(first, second, 0.0), second)


def test_new_fisher_is_clipped_before_it_is_mixed_in() -> None:
    mixed = class_weighted({"w": torch.tensor([4.0])}, {"w": torch.tensor([9.0])}, 1, 3, clip=1.0)
    torch.testing.assert_close(mixed["w"], torch.tensor([0.25 * 4.0 + 0.75 * 1.0]))


def test_rows_of_new_classes_are_those_of_the_new_fisher() -> None:
    """As PyCIL mixes the old rows only; scaled by the share of new classes they would be all but free."""
    old, new = {"head": torch.full((5, 2), 4.0)}, {"head": torch.full((8, 2), 2.0), "later": torch.full((2,), 9.0)}
    mixed = class_weighted(old, new, classes_before=5, classes_new=3, clip=3.0)
    torch.testing.assert_close(mixed["head"][:5], torch.full((5, 2), 5 / 8 * 4.0 + 3 / 8 * 2.0))
    assert torch.equal(mixed["head"][5:], torch.full((3, 2), 2.0))
    assert torch.equal(mixed["later"], torch.full((2,), 3.0))


def test_squares_are_summed_in_single_precision_or_better() -> None:
    gradients = [{"w": torch.tensor([1 / 3], dtype=dtype)} for dtype in (torch.bfloat16, torch.float64)]
    totals = add_squares(add_squares({}, gradients[0]), gradients[0])
    assert totals["w"].dtype == torch.float32
    torch.testing.assert_close(totals["w"], 2 * gradients[0]["w"].float().square())
    assert add_squares({}, gradients[1])["w"].dtype == torch.float64


def test_moving_average_starts_at_the_first_value() -> None:
    first = {"w": torch.tensor([2.0])}
    torch.testing.assert_close(moving_average({}, first, 0.1), first)
