"""Routers that are strategies of their own find ways for whatever another strategy has added."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.routing.centroids import NearestCentroid
from mmcl_strategies.routing.gaussian import GaussianLikelihood
from mmcl_strategies.routing.gaussian_likelihood import LikelihoodRouting
from mmcl_strategies.routing.nearest_centroid import CentroidRouting
from torch import Tensor

import mmcl
from mmcl.learning.learner import Learner
from mmcl.models.routing import Router
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner

HIDDEN = Scenario("MTIL", task_id_known_at_test=False, label_space_at_test="own", modalities_change=False)
KINDS: tuple[Any, ...] = (CentroidRouting, LikelihoodRouting)
every = pytest.mark.parametrize("kind", KINDS)


def adapted(finder: Any, experiences: int = 2) -> tuple[Learner, Benchmark]:
    """Experts with ways, after all experiences."""
    stream = toy_benchmark(HIDDEN, experiences)
    learner = toy_learner(stream, {"moe_adapters": MoEAdapters(experts=2), "finder": finder}, iterations=2)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner, stream


def router_of(learner: Learner) -> Router:
    assert learner.model.router is not None
    return learner.model.router


@torch.no_grad()
def ways(learner: Learner, stream: Benchmark) -> list[Tensor]:
    """Of the test images of each experience, whose task is hidden."""
    found = []
    for experience in stream.test:
        batch = next(iter(learner.one_pass(experience.samples)))
        route = learner.model.encode(batch.inputs.replace(task_ids=None, route=None)).route
        assert route is not None
        found.append(route.ids)
    return found


@every
def test_samples_take_the_way_of_their_own_experience_whatever_was_added(kind: Any) -> None:
    learner, stream = adapted(kind())
    found = ways(learner, stream)
    assert [float((ids == index).float().mean()) > 0.5 for index, ids in enumerate(found)] == [True, True]
    for name, parameter in learner.model.named_parameters():
        if ".addons." in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    for before, after in zip(found, ways(learner, stream), strict=True):
        assert torch.equal(before, after)


@every
@pytest.mark.parametrize("granularity", ["sample", "batch"])
def test_a_run_records_how_ways_were_found(kind: Any, granularity: str, tmp_path: Path, cache: Path) -> None:
    result = mmcl.run(
        benchmark=toy_benchmark(HIDDEN, experiences=2),
        strategies=[MoEAdapters(experts=2), kind(granularity=granularity)],
        training={"iterations": 1, "batch_size": 4},
        out=tmp_path / "run",
        quiet=True,
    )
    assert result.results["ways"] == f"per {granularity}"


@every
def test_a_batch_as_a_whole_goes_one_way(kind: Any) -> None:
    learner, stream = adapted(kind(granularity="batch"))
    assert [len(ids.unique()) for ids in ways(learner, stream)] == [1, 1]


def test_options_reach_the_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    restarts = []
    learn = NearestCentroid.learn

    def noted(self: NearestCentroid, *arguments: Any, **options: Any) -> None:
        restarts.append(options.get("restarts"))
        learn(self, *arguments, **options)

    monkeypatch.setattr(NearestCentroid, "learn", noted)
    learner, _ = adapted(CentroidRouting(clusters=2, metric="euclidean", restarts=3), experiences=1)
    router = router_of(learner)
    assert isinstance(router, NearestCentroid)
    assert (router.centres.shape[1], router.metric, restarts) == (2, "euclidean", [3])


def test_options_reach_the_gaussians() -> None:
    learner, _ = adapted(LikelihoodRouting(divisor=7.0, jitter=0.5), experiences=1)
    router = router_of(learner)
    assert isinstance(router, GaussianLikelihood)
    assert router.divisor == 7.0
    covariance = router.factors[0] @ router.factors[0].T
    assert float(covariance.diagonal().min()) >= 0.5
