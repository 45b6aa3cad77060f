"""A sample goes where it is likeliest to be from, as strongly as it is likely; a batch may go as a whole."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.maths.gaussian import statistics
from mmcl_strategies.routing.gaussian import GaussianLikelihood, log_densities, strength_of, unit
from mmcl_strategies.routing.votes import Granularity, majority
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features
from mmcl.models.multimodal import MultimodalModel

WIDTH = 5


def around(direction: int, rows: int = 60, seed: int = 0, spread: float = 0.2) -> Tensor:
    """Features near a unit vector, of unlike lengths."""
    generator = torch.Generator().manual_seed(100 * direction + seed)
    near = torch.eye(WIDTH)[direction] + spread * torch.randn(rows, WIDTH, generator=generator)
    return (1 + torch.rand(rows, 1, generator=generator)) * near


def router(*directions: int, granularity: Granularity = "sample", divisor: float | None = None) -> GaussianLikelihood:
    """Experiences 3, 4, ... whose samples lie around one direction each."""
    found = GaussianLikelihood(WIDTH, granularity=granularity, divisor=divisor)
    for index, direction in enumerate(directions, start=3):
        found.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
        found.learn(index, around(direction))
    return found


def routed(of: GaussianLikelihood, features: Tensor, present: Tensor | None = None) -> Route:
    there = torch.ones(len(features), dtype=torch.bool) if present is None else present
    encoded = Encoded({IMAGE: Features(features)}, {IMAGE: there}, torch.ones(()))
    route: Route = of(Inputs({IMAGE: features}, {IMAGE: there}), lambda _: encoded)
    return route


def queries(*directions: int) -> Tensor:
    """One of each, none like another."""
    return torch.cat([around(direction, 1, seed=7 + row) for row, direction in enumerate(directions)])


def log_density(x: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """Once more, by an inverse and a determinant of NumPy's."""
    away, S = (x - mean).double().numpy(), covariance.double().numpy()
    sign, log_determinant = np.linalg.slogdet(2 * math.pi * S)
    assert sign == 1
    return float(-0.5 * (away @ np.linalg.inv(S) @ away + log_determinant))


def test_each_row_goes_to_the_experience_it_is_likeliest_to_be_of() -> None:
    route = routed(router(0, 2, 4), queries(2, 0, 4, 2))
    assert route.ids.tolist() == [4, 3, 5, 4]
    assert route.prompt_strength is None
    assert route.query is not None
    torch.testing.assert_close(route.query.norm(dim=1), torch.ones(4).double())


def test_the_strength_of_a_row_is_that_of_its_likeliest_experience() -> None:
    for divisor in (None, 2.0):
        found = router(0, 2, divisor=divisor)
        route = routed(found, queries(2, 0, 3))
        for row, query in enumerate(unit(queries(2, 0, 3))):
            densities = []
            for direction in (0, 2):
                known = unit(around(direction))
                densities.append(log_density(query, known.mean(0), known.T.cov() + 1e-7 * torch.eye(WIDTH)))
            expected = 1 / (1 + math.exp(1 - max(densities) / (divisor or WIDTH)))
            assert float(route.strength[row]) == pytest.approx(expected, rel=1e-6)
            assert float(route.strength[2]) < 0.5 * float(route.strength[:2].min())


def test_likelihood_alone_decides_and_not_the_distance() -> None:
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double()
    factors = torch.stack([0.01 * torch.eye(2), torch.eye(2)]).double()
    assert log_densities(torch.tensor([[0.2, 0.0]]).double(), means, factors).argmax(1).tolist() == [1]


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 50))
def test_densities_are_those_of_the_normal_distribution_also_with_fewer_samples_than_dimensions(
    rows: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = unit(torch.randn(rows, width, generator=generator))
    mean, covariance = statistics(known, 1e-4)
    query = unit(torch.randn(2, width, generator=generator))
    found = log_densities(query, mean.unsqueeze(0), torch.linalg.cholesky(covariance).unsqueeze(0))
    for row in range(2):
        assert float(found[row, 0]) == pytest.approx(log_density(query[row], mean, covariance), rel=1e-6)


def test_the_covariance_is_unbiased_and_every_direction_has_a_least_variance() -> None:
    known = unit(around(1, rows=4))
    mean, covariance = statistics(known, 0.25)
    torch.testing.assert_close(mean, known.mean(0))
    torch.testing.assert_close(covariance, known.T.cov() + 0.25 * torch.eye(WIDTH).double())
    one, spread = statistics(known[:1], 0.25)
    assert torch.equal(one, known[0])
    assert torch.equal(spread, 0.25 * torch.eye(WIDTH).double())


def test_a_covariance_that_is_singular_but_for_its_jitter_keeps_its_digits() -> None:
    width = 64
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, width, generator=generator).half()
    found = GaussianLikelihood(width)
    found.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    found.learn(0, features)
    densities = log_densities(unit(features), found.means, found.factors).flatten()
    known = unit(features)
    covariance = known.T.cov() + 1e-7 * torch.eye(width).double()
    expected = [log_density(query, known.mean(0), covariance) for query in known]
    assert densities.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.means.dtype is found.factors.dtype is torch.float64


def test_the_length_of_features_plays_no_part() -> None:
    first, second = router(0), router(0)
    second.learn(3, 7 * around(0))
    torch.testing.assert_close(first.means, second.means)
    torch.testing.assert_close(first.factors, second.factors)
    torch.testing.assert_close(routed(first, queries(0, 1)).strength, routed(first, 8 * queries(0, 1)).strength)


def test_a_batch_goes_where_most_of_its_rows_would_and_each_keeps_the_strength_of_its_own_likeliest() -> None:
    alone = routed(router(0, 2), queries(2, 0, 2))
    together = routed(router(0, 2, granularity="batch"), queries(2, 0, 2))
    assert alone.ids.tolist() == [4, 3, 4]
    assert together.ids.tolist() == [4, 4, 4]
    assert torch.equal(together.strength, alone.strength)
    assert len(alone.strength.unique()) == 3
    torch.testing.assert_close(together.strength_of_prompts, alone.strength.mean().expand(3))
    assert torch.equal(alone.strength_of_prompts, alone.strength)


def test_of_several_majorities_the_smallest_id_is_taken() -> None:
    assert majority(torch.tensor([5, 3, 3, 9, 5])).item() == 3
    assert majority(torch.tensor([9, 5, 9])).item() == 9


@pytest.mark.parametrize("granularity", ["sample", "batch"])
def test_a_row_without_the_modality_is_plain_and_has_no_vote(granularity: Granularity) -> None:
    present = torch.tensor([True, False, False])
    route = routed(router(0, 2, granularity=granularity), queries(0, 2, 2), present)
    assert route.ids.tolist() == [3, PLAIN, PLAIN]
    assert route.strength[1:].tolist() == route.strength_of_prompts[1:].tolist() == [0.0, 0.0]
    assert route.strength_of_prompts[0] == route.strength[0]
    nobody = routed(router(0, granularity=granularity), queries(0), torch.tensor([False]))
    assert nobody.ids.tolist() == [PLAIN]


def test_a_batch_of_texts_alone_is_plain() -> None:
    texts = Inputs({TEXT: torch.zeros(2, 4)}, {TEXT: torch.ones(2, dtype=torch.bool)})
    route = router(0)(texts, lambda _: Encoded({}, {}, torch.ones(())))
    assert route.ids.tolist() == [PLAIN] * 2


def test_before_anything_is_learned_every_row_is_plain() -> None:
    nobody = GaussianLikelihood(WIDTH)
    assert routed(nobody, queries(0, 1)).ids.unique().tolist() == [PLAIN]
    nobody.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    nobody.learn(0, torch.empty(0, WIDTH))
    route = routed(nobody, queries(0, 1))
    assert route.ids.unique().tolist() == [PLAIN]
    assert route.strength.unique().tolist() == [0.0]


def test_an_experience_without_samples_is_nobodys() -> None:
    with_gap = GaussianLikelihood(WIDTH)
    for index in (2, 9):
        with_gap.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    with_gap.learn(9, around(0))
    assert routed(with_gap, queries(0, 3)).ids.tolist() == [9, 9]


def test_what_is_foreign_to_all_experiences_has_no_strength_left() -> None:
    narrow = GaussianLikelihood(WIDTH)
    narrow.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    narrow.learn(0, around(0, spread=1e-3))
    route = routed(narrow, queries(3))
    assert route.strength.tolist() == [0.0]
    assert not bool(route.taken.any()), "rows without strength pass by"


def test_statistics_are_saved_with_the_model() -> None:
    model, fresh = (MultimodalModel(tiny_clip()) for _ in range(2))
    for each in (model, fresh):
        each.router = GaussianLikelihood(each.backbone.towers[IMAGE].width)
        for index in (0, 1):
            each.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    assert isinstance(model.router, GaussianLikelihood)
    model.router.learn(1, torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
    fresh.load_state_dict(model.state_dict())
    assert isinstance(fresh.router, GaussianLikelihood)
    assert torch.equal(fresh.router.factors, model.router.factors)
    assert fresh.router.learned.tolist() == [False, True]


def test_strengths_rise_with_likelihood_between_nothing_and_all() -> None:
    found = strength_of(torch.tensor([-torch.inf, 0.0, 512.0, torch.inf]), 512.0)
    assert found.tolist() == pytest.approx([0.0, 1 / (1 + math.e), 0.5, 1.0])
