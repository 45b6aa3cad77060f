"""Densities of features and of classes."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, Record, fit_classes, joined
from mmcl_strategies.pseudo_replay.density import Density, draw, fit, shrunk
from torch import Tensor

from mmcl.data.sample import Batch, Inputs


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(count: int, seed: int = 0) -> Tensor:
    """Correlated, neither centred nor of unit length."""
    mixing = torch.tensor([[2.0, 0.0, 0.0], [1.8, 0.4, 0.0], [0.0, 0.0, 0.5]])
    return torch.tensor([10.0, -3.0, 1.0]) + torch.randn(count, 3, generator=chance(seed)) @ mixing.T


def drawn(density: Density, count: int) -> Tensor:
    generator = chance(1)
    return torch.stack([draw(density, generator) for _ in range(count)])


def test_draws_have_the_mean_and_the_covariance_of_raw_samples() -> None:
    samples = normal(2000)
    draws = drawn(fit(samples), 4000)
    torch.testing.assert_close(draws.mean(0), samples.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(draws.T.cov(), samples.T.cov(correction=0), atol=0.3, rtol=0)


def test_a_diagonal_covariance_forgets_correlations_and_keeps_spreads() -> None:
    samples = normal(2000)
    covariance = drawn(fit(samples, diagonal=True), 4000).T.cov()
    torch.testing.assert_close(covariance.diagonal(), samples.var(0), atol=0.3, rtol=0)
    assert covariance[0, 1].abs() < 0.3 < samples.T.cov()[0, 1]


def test_a_mixture_has_the_modes_that_one_gaussian_fills_in() -> None:
    samples = torch.cat([normal(300), normal(300, seed=1) + 30.0])
    middle = samples.mean(0)
    for components, near in ((1, True), (2, False)):
        distances = (drawn(fit(samples, components), 300) - middle).norm(dim=1)
        assert bool((distances < 8).any()) == near


def test_components_are_drawn_as_often_as_they_weigh() -> None:
    density = {
        "weights": torch.tensor([0.9, 0.1]),
        "means": torch.tensor([[-5.0], [5.0]]),
        "factors": torch.full((2, 1), 0.1),
    }
    assert abs(float((drawn(density, 500) > 0).float().mean()) - 0.1) < 0.04


def test_one_component_is_the_gaussian_of_all_samples() -> None:
    few = normal(9)  # too few for two components of five
    one, five = fit(few), fit(few, components=5)
    assert all(torch.equal(value, five[name]) for name, value in one.items())


@given(count=st.integers(1, 12), components=st.integers(1, 5), diagonal=st.booleans(), width=st.integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_any_number_of_samples_has_a_density(count: int, components: int, diagonal: bool, width: int) -> None:
    samples = torch.randn(count, width, generator=chance(count))
    density = fit(samples, components, diagonal)
    assert all(bool(value.isfinite().all()) for value in density.values())
    assert bool(drawn(density, 3).isfinite().all())
    if count == 1:
        torch.testing.assert_close(drawn(density, 3), samples.expand(3, -1))


def test_equal_samples_are_a_point() -> None:
    samples = torch.ones(20, 4)
    for components in (1, 3):
        torch.testing.assert_close(drawn(fit(samples, components), 5), torch.ones(5, 4), atol=1e-4, rtol=0)


def test_fewer_samples_than_dimensions_still_spread_in_all_directions() -> None:
    samples = torch.randn(6, 20, generator=chance())
    assert torch.linalg.matrix_rank(drawn(fit(samples), 100)) == 20
    assert torch.linalg.matrix_rank(drawn(fit(samples, shrinkage=0.0), 100) - samples.mean(0), atol=1e-3) == 5


def test_shrinkage_keeps_the_total_variance_and_ends_at_the_same_variance_everywhere() -> None:
    covariance = normal(50).T.cov().unsqueeze(0)
    for share in (0.0, 0.3, 1.0):
        found = shrunk(covariance, torch.ones(1), share)
        torch.testing.assert_close(found[0].trace(), covariance[0].trace())
    torch.testing.assert_close(found[0], torch.eye(3) * covariance[0].trace() / 3)


def test_the_components_of_a_mixture_share_what_they_are_shrunk_to() -> None:
    covariances, weights = torch.stack([torch.eye(2), 5 * torch.eye(2)]), torch.tensor([0.75, 0.25])
    torch.testing.assert_close(shrunk(covariances, weights, 1.0), 2.0 * torch.eye(2).expand(2, 2, 2))


# By class.


def batch(targets: list[int], task_id: int, a: list[bool], b: list[bool]) -> tuple[Batch, dict[str, Tensor]]:
    """Two modalities of different width; ``b`` is a function of ``a`` wherever both are there."""
    count = len(targets)
    first = torch.randn(count, 2, generator=chance(task_id)) + 10 * torch.tensor(targets).unsqueeze(1)
    features = {"b": torch.cat([first, first.sum(1, keepdim=True)], dim=1), "a": first}
    present = {"a": torch.tensor(a), "b": torch.tensor(b)}
    inputs = Inputs({name: torch.zeros(count) for name in present}, present)
    return Batch(inputs, torch.tensor(targets), torch.full((count,), task_id)), features


def complete(count: int, target: int = 0, task_id: int = 0) -> tuple[Batch, dict[str, Tensor]]:
    return batch([target] * count, task_id, [True] * count, [True] * count)


def fitted(*passed: tuple[Batch, dict[str, Tensor]], components: int = 1, diagonal: bool = False) -> list[Record]:
    present = ((batch, features, batch.inputs.present) for batch, features in passed)
    return fit_classes(present, partial(fit, components=components, diagonal=diagonal))


LIKE = {"b": torch.zeros(1, 3), "a": torch.zeros(1, 2)}


def test_the_modalities_of_a_sample_are_drawn_together() -> None:
    drawn = ClassDensities(fitted(complete(200))).draw(50, LIKE, chance())
    a, b = drawn.features["a"], drawn.features["b"]
    both = torch.corrcoef(torch.stack([a.sum(1), b[:, 2]]))
    assert both[0, 1] > 0.95
    apart = ClassDensities(fitted(complete(200), diagonal=True)).draw(50, LIKE, chance())
    assert torch.corrcoef(torch.stack([apart.features["a"].sum(1), apart.features["b"][:, 2]]))[0, 1] < 0.6


def test_the_label_is_the_class_that_was_drawn_from() -> None:
    drawn = ClassDensities(fitted(complete(20, target=3), complete(20, target=7))).draw(60, LIKE, chance())
    assert set(drawn.targets.tolist()) == {3, 7}
    assert torch.equal((drawn.features["a"].mean(1) / 10).round().long(), drawn.targets)


def test_classes_are_drawn_uniformly_whatever_their_size() -> None:
    drawn = ClassDensities(fitted(complete(300, target=0), complete(3, target=1))).draw(2000, LIKE, chance())
    assert drawn.targets.float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_class_that_comes_back_has_a_density_for_each_experience() -> None:
    records = fitted(complete(20, task_id=0), complete(20, task_id=4))
    assert [(r["task_id"], r["target"]) for r in records] == [(0, 0), (4, 0)]
    densities = ClassDensities(records)
    assert densities.task_ids == [0, 4]
    assert set(densities.draw(50, LIKE, chance()).task_ids.tolist()) == {0, 4}


def test_a_class_whose_samples_differ_in_their_modalities_has_a_density_for_each_set_of_them() -> None:
    passed = batch([0] * 100, 0, [True] * 80 + [False] * 20, [False] * 60 + [True] * 40)
    records = fitted(passed)
    assert {(tuple(r["modalities"]), r["count"]) for r in records} == {(("a",), 60), (("a", "b"), 20), (("b",), 20)}
    drawn = ClassDensities(records).draw(1000, LIKE, chance())
    shares = {
        "a alone": drawn.present["a"] & ~drawn.present["b"],
        "both": drawn.present["a"] & drawn.present["b"],
        "b alone": ~drawn.present["a"] & drawn.present["b"],
    }
    assert [float(rows.float().mean()) for rows in shares.values()] == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert not drawn.features["a"][shares["b alone"]].any()
    assert not drawn.features["b"][shares["a alone"]].any()


def test_missing_modalities_of_a_batch_do_not_count_as_features() -> None:
    features = {"a": torch.tensor([[1.0, 2.0], [torch.nan, 9.0]]), "b": torch.ones(2, 1)}
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    assert joined(features, present).tolist() == [[1.0, 2.0, 1.0], [0.0, 0.0, 1.0]]
