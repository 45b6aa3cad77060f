"""A sample goes to the experience of the nearest centre, whatever else is in its batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.routing.centroids import Metric, NearestCentroid, centroids, distances
from torch import Tensor
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features
from mmcl.models.multimodal import MultimodalModel


def around(*angles: float, rows: int = 8, spread: float = 0.05) -> Tensor:
    """Features near unit vectors of the plane, of unlike lengths."""
    generator = torch.Generator().manual_seed(3)
    turned = torch.tensor(angles).repeat_interleave(rows) + spread * torch.randn(
        len(angles) * rows, generator=generator
    )
    lengths = 1 + torch.rand(len(turned), 1, generator=generator)
    return lengths * torch.stack([turned.cos(), turned.sin()], 1)


def router(*angles: float, metric: Metric = "l1", clusters: int = 2) -> NearestCentroid:
    """Experiences 3, 4, ... whose samples lie around one angle each."""
    found = NearestCentroid(2, clusters=clusters, metric=metric)
    for index, angle in enumerate(angles, start=3):
        found.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
        found.learn(index, around(angle), seed=0)
    return found


def routed(of: NearestCentroid, features: Tensor, present: Tensor | None = None) -> Route:
    there = torch.ones(len(features), dtype=torch.bool) if present is None else present
    encoded = Encoded({IMAGE: Features(features)}, {IMAGE: there}, torch.ones(()))
    route: Route = of(Inputs({IMAGE: features}, {IMAGE: there}), lambda _: encoded)
    return route


def test_each_row_goes_to_the_experience_it_looks_like() -> None:
    route = routed(router(0.0, 1.5, 3.0), around(1.5, 0.0, 3.0, 1.5, rows=1))
    assert route.ids.tolist() == [4, 3, 5, 4]
    assert route.strength.tolist() == [1.0] * 4
    assert route.query is not None
    torch.testing.assert_close(route.query.norm(dim=1), torch.ones(4))


def test_before_there_are_centres_every_row_is_plain() -> None:
    nobody = NearestCentroid(2)
    assert routed(nobody, around(0.0, 1.0)).ids.unique().tolist() == [PLAIN]
    nobody.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    route = routed(nobody, around(0.0, 1.0))
    assert route.ids.unique().tolist() == [PLAIN]
    assert route.strength.unique().tolist() == [0.0]


def test_an_experience_without_centres_is_nobodys() -> None:
    with_gap = router(0.0)
    with_gap.meet(Arrival(9, LabelSpace(), frozenset({IMAGE})))
    with_gap.learn(9, torch.empty(0, 2), seed=0)
    assert routed(with_gap, around(0.0, 3.0)).ids.unique().tolist() == [3]


def test_a_row_without_the_modality_is_plain() -> None:
    present = torch.tensor([True, False])
    assert routed(router(0.0), around(0.0, rows=2), present).ids.tolist() == [3, PLAIN]


def test_a_batch_goes_where_most_of_its_rows_would_and_absent_rows_do_not_vote() -> None:
    together = router(0.0, 1.5)
    together.granularity = "batch"
    features = around(0.0, 1.5, 1.5, 1.5, rows=1)
    assert routed(together, features).ids.tolist() == [4] * 4
    present = torch.tensor([True, True, False, False])
    assert routed(together, features, present).ids.tolist() == [3, 3, PLAIN, PLAIN], "of equals the smallest id"
    assert routed(together, features, ~(present | True)).ids.tolist() == [PLAIN] * 4


def test_a_batch_that_lacks_the_modality_altogether_is_plain() -> None:
    features = around(0.0, rows=2)
    of_texts = Encoded({TEXT: Features(features)}, {TEXT: torch.ones(2, dtype=torch.bool)}, torch.ones(()))
    inputs = Inputs({TEXT: features}, {TEXT: torch.ones(2, dtype=torch.bool)})
    assert router(0.0)(inputs, lambda _: of_texts).ids.tolist() == [PLAIN, PLAIN]


def test_the_two_metrics_may_disagree() -> None:
    centres = torch.tensor([[[0.8, 0.0]], [[0.35, 0.35]]])
    query = torch.tensor([[0.0, 0.0]])
    assert distances(query, centres, "l1").argmin(1).tolist() == [1]
    torch.testing.assert_close(distances(query, centres, "l1"), torch.tensor([[0.8, 0.7]]))
    torch.testing.assert_close(distances(query, centres, "euclidean"), torch.tensor([[0.8, 0.35 * 2**0.5]]))
    other = torch.tensor([[[0.8, 0.0]], [[0.5, 0.5]]])
    assert distances(query, other, "l1").argmin(1).tolist() == [0]
    assert distances(query, other, "euclidean").argmin(1).tolist() == [1]


def test_the_nearest_centre_counts_and_not_the_mean_of_them() -> None:
    centres = torch.tensor([[[0.0, 0.1], [9.0, 9.0]], [[1.0, 1.0], [torch.nan, torch.nan]]])
    torch.testing.assert_close(distances(torch.zeros(1, 2), centres, "l1"), torch.tensor([[0.1, 2.0]]))


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 100))
def test_centres_are_the_means_of_the_features_that_are_nearest(clusters: int, rows: int, seed: int) -> None:
    features = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = centroids(features, clusters, seed=seed)
    assert len(found) == min(clusters, rows)
    unit = functional.normalize(features, dim=1)
    nearest = torch.cdist(unit, found).argmin(1)
    for k in nearest.unique().tolist():
        torch.testing.assert_close(found[k], unit[nearest == k].mean(0))


def test_centres_begin_where_they_are_told_to() -> None:
    features = around(-0.3, 0.3, torch.pi - 0.3, torch.pi + 0.3, spread=0.0, rows=2).double()
    above_and_below = np.array([[0.0, 0.3], [0.0, -0.3]])
    assert sorted(centroids(features, 2, seed=0)[:, 1].round(decimals=6).abs().tolist()) == [0.0, 0.0]
    for start in (above_and_below, lambda samples, clusters, random_state: above_and_below):
        found = centroids(features, 2, seed=0, restarts=1, start=start)
        torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.0, -1.0]]).double() * np.sin(0.3))


def test_alike_samples_have_one_centre() -> None:
    features = torch.ones(6, 2)
    assert centroids(features, 5, seed=0).tolist() == pytest.approx(functional.normalize(features)[:1])


def test_an_experience_that_is_learned_again_has_its_new_centres_alone() -> None:
    again = router(0.0, clusters=3)
    again.learn(3, around(2.0, rows=1), seed=0)
    assert again.found[0].tolist() == [True, False, False]
    assert routed(again, around(0.0, 2.0, rows=1)).ids.tolist() == [3, 3]
    torch.testing.assert_close(again.centres[0, 0], functional.normalize(around(2.0, rows=1))[0])


def test_centres_are_saved_with_the_model_and_copied_with_it() -> None:
    model, fresh = (MultimodalModel(tiny_clip()) for _ in range(2))
    for each in (model, fresh):
        each.router = NearestCentroid(each.backbone.towers[IMAGE].width, clusters=2)
        for index in (0, 1):
            each.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    assert isinstance(model.router, NearestCentroid)
    model.router.learn(1, torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), seed=0)
    fresh.load_state_dict(model.state_dict())
    assert isinstance(fresh.router, NearestCentroid)
    torch.testing.assert_close(fresh.router.centres, model.router.centres, equal_nan=True)
    assert fresh.router.experiences.tolist() == [0, 1]
