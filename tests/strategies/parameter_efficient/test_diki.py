"""Every experience has a branch of its own, whole while it is learned, afterwards as strong as a sample is likely."""

import sys
from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.diki import DIKI, OWNER
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.parameter_efficient.residual_attention import ResidualAttention
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.routing.gaussian import GaussianLikelihood
from torch import Tensor, nn
from torch.nn import functional

from mmcl.backbones.openclip import GlyphCLIP, tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_samples, weights

SPACE = LabelSpace.of(["alpha", "beta"], templates=["{}", "a {}"])
SMALL: dict[str, Any] = {"depth": 2, "length": 2, "lr": 0.1, "divisor": 30.0}
DOMAINS = 3


def shifted(domain: int, seed: int) -> TensorSamples:
    """The same two classes in another light."""
    samples = toy_samples([0, 1], 8, domain, seed)
    light = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(50 + domain))
    return TensorSamples({IMAGE: samples.values[IMAGE] + 4 * light}, samples.targets, domain)


def domains(count: int = DOMAINS) -> Benchmark:
    return Benchmark(
        name="domains",
        edition="toy",
        scenario=DIL,
        experiences=[
            ExperienceData(f"domain {d}", shifted(d, 2 * d), shifted(d, 2 * d + 1), SPACE) for d in range(count)
        ],
        training={"iterations": 3, "batch_size": 4, "lr": 1e-3},
    )


def begun(
    stream: Benchmark, others: dict[str, StrategyPlugin] | None = None, steps: int = 3, **options: Any
) -> Learner:
    strategies = {OWNER: DIKI(**{**SMALL, **options}), **(others or {})}
    return toy_learner(stream, strategies, schedule="constant", iterations=steps)


@cache
def learned(**options: Any) -> Learner:
    stream = domains()
    learner = begun(stream, **options)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner


def branches(learner: Learner) -> list[ResidualAttention]:
    return [module for module in learner.model.modules() if isinstance(module, ResidualAttention)]


def router_of(learner: Learner) -> GaussianLikelihood:
    assert isinstance(learner.model.router, GaussianLikelihood)
    return learner.model.router


def mixed(ids: tuple[int, ...] | None = None) -> Inputs:
    """Two samples of each domain."""
    images = torch.cat([shifted(d, 2 * d + 1).values[IMAGE][:2] for d in range(DOMAINS)])
    known = None if ids is None else Route.given(torch.tensor(ids))
    return Inputs({IMAGE: images}, {IMAGE: torch.ones(len(images), dtype=torch.bool)}, asked=Asked(SPACE), route=known)


@torch.no_grad()
def answered(model: MultimodalModel, inputs: Inputs) -> tuple[Tensor, Output]:
    output = model.predict(inputs)
    assert output.logits is not None
    return output.logits, output


def scores(model: MultimodalModel, inputs: Inputs) -> Tensor:
    return answered(model, inputs)[0]


def plain() -> MultimodalModel:
    return MultimodalModel(tiny_clip()).eval()


def test_before_anything_is_learned_every_way_is_plain_clips_bit_for_bit() -> None:
    stream = domains(1)
    learner = begun(stream)
    assert torch.equal(scores(learner.model.eval(), mixed()), scores(plain(), mixed()))
    learner.meet(stream.train[0])
    assert torch.equal(scores(learner.model.eval(), mixed((0,) * 6)), scores(plain(), mixed()))


def test_afterwards_the_plain_way_and_strength_zero_still_are() -> None:
    model, bare = learned().model, scores(plain(), mixed())
    assert torch.equal(scores(model, mixed((PLAIN,) * 6)), bare)
    weak = mixed().replace(route=Route(torch.tensor([0, 1, 2, 0, 1, 2]), torch.zeros(6)))
    assert torch.equal(scores(model, weak), bare)
    assert torch.equal(scores(model, mixed((0, PLAIN, 1, 2, PLAIN, 1)))[[1, 4]], bare[[1, 4]])
    assert not torch.allclose(scores(model, mixed((0,) * 6)), bare)


def test_a_mixed_batch_equals_its_rows_one_by_one_also_where_ways_and_strengths_are_found() -> None:
    model = learned().model
    given = mixed((0, PLAIN, 2, 1, 1, 0))
    for batch in (given, given.replace(route=given.route._replace(strength=torch.rand(6))), mixed()):  # type: ignore[union-attr]
        alone = [scores(model, batch.select(torch.tensor([row]))) for row in range(6)]
        torch.testing.assert_close(scores(model, batch), torch.cat(alone))
    route = answered(model, mixed())[1].route
    assert route is not None
    assert route.ids.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(route.strength.unique()) == 6
    assert bool(((route.strength > 0) & (route.strength < 1)).all())


def test_for_a_batch_as_a_whole_class_names_have_the_mean_of_its_strengths_and_every_image_its_own() -> None:
    learner = learned(granularity="batch")
    batch = mixed().select(torch.tensor([0, 2, 3, 4]))
    found, output = answered(learner.model, batch)
    route, head = output.route, learner.model.head
    assert route is not None
    assert isinstance(head, TextHead)
    assert route.ids.tolist() == [1] * 4, "most of them"
    assert len(route.strength.unique()) == 4
    with torch.no_grad():
        texts = head.text_features(SPACE, (1, float(route.strength.mean())))
        per_row = [answered(learner.model, batch.replace(route=route._replace(prompt_strength=None)))[0]]
    expected = learner.model.backbone.logit_scale * functional.normalize(output.fused, dim=1) @ texts.T
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, per_row[0])


class Ways(StrategyPlugin):
    """Notes ways, rates and modes of every step."""

    def __init__(self) -> None:
        self.ways: list[Tensor] = []
        self.strengths: list[Tensor] = []
        self.seen: set[float] = set()
        self.training: set[bool] = set()

    def after_forward(self, learner: Learner, **_: object) -> None:
        assert learner.output.route is not None
        self.ways.append(learner.output.route.ids)
        self.strengths.append(learner.output.route.strength_of_prompts)
        self.strengths.append(learner.output.route.strength)
        self.seen |= {group["lr"] for group in learner.optimizer.param_groups}
        self.training |= {module.training for module in learner.model.backbone.modules()}


def test_in_training_the_branch_is_that_of_the_experience_and_whole() -> None:
    stream, noted = domains(), Ways()
    learner = begun(stream, {"noted": noted})
    for experience in stream.train:
        noted.ways.clear()
        learner.train(experience)
        assert torch.cat(noted.ways).unique().tolist() == [experience.index]
    assert torch.cat(noted.strengths).unique().tolist() == [1.0]
    assert noted.training == {False}, "and the network is the one that is evaluated"


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_prefixes_have_a_rate_of_their_own_unless_they_are_told_not_to(lr: float | None, rate: float) -> None:
    stream, noted = domains(1), Ways()
    begun(stream, {"noted": noted}, lr=lr).train(stream.train[0])
    assert noted.seen == {rate}


def test_statistics_are_those_of_unit_features_of_plain_clip_whatever_was_learned() -> None:
    slow, fast = learned(), learned(lr=0.5)
    assert not torch.allclose(branches(slow)[0].prefixes["0"], branches(fast)[0].prefixes["0"])
    assert torch.equal(router_of(slow).factors, router_of(fast).factors)
    for d in range(DOMAINS):
        images = shifted(d, 2 * d).values[IMAGE]
        with torch.no_grad():
            features = plain().backbone.encode(
                Inputs({IMAGE: images}, mixed().present | {IMAGE: images[:, 0, 0, 0] < 1e9})
            )
        known = functional.normalize(features.features[IMAGE].pooled.double(), dim=1)
        torch.testing.assert_close(router_of(slow).means[d], known.mean(0), rtol=1e-4, atol=1e-6)
        L = router_of(slow).factors[d]
        torch.testing.assert_close(L @ L.T, known.T.cov() + 1e-7 * torch.eye(16).double(), rtol=1e-3, atol=1e-7)


def test_statistics_are_there_before_the_first_step() -> None:
    class Before(StrategyPlugin):
        learned: Tensor

        def before_training_iteration(self, learner: Learner, **_: object) -> None:
            if learner.step == 0:
                self.learned = router_of(learner).learned.clone()

    stream, before = domains(1), Before()
    begun(stream, {"before": before}).train(stream.train[0])
    assert before.learned.tolist() == [True]


def test_everything_but_the_prefixes_of_the_experience_stays_bit_for_bit() -> None:
    stream = domains()
    learner = begun(stream)
    for experience in stream.train:
        learner.meet(experience)
        before, statistics = weights(learner), router_of(learner).factors.clone()
        learner.train(experience)
        after = weights(learner)
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        own = {name for name in before if f".addons.diki.prefixes.{experience.index}" in name}
        assert moved == own
        assert len(own) == 2, "a block of each tower"
        assert torch.equal(router_of(learner).factors[: experience.index], statistics[: experience.index])
        assert {id(p) for group in learner.optimizer.param_groups for p in group["params"]} == {
            id(branch.prefixes[str(experience.index)]) for branch in branches(learner)
        }


def test_prefixes_begin_anew_in_every_experience() -> None:
    stream, starts = domains(), []
    for lr in (0.01, 0.5):
        learner = begun(stream, lr=lr)
        learner.train(stream.train[0])
        learner.meet(stream.train[1])
        starts.append([branch.prefixes["1"].detach().clone() for branch in branches(learner)])
    for slow, fast in zip(*starts, strict=True):
        assert torch.equal(slow, fast)
        assert not bool(slow[1].any())


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_the_first_blocks_of_both_towers_have_prefixes_of_the_length_of_the_option(depth: int) -> None:
    stream = domains(1)
    learner = toy_learner(stream, {OWNER: DIKI(depth=depth, length=5)}, backbone=GlyphCLIP().build())
    learner.meet(stream.train[0])
    for tower in (IMAGE, TEXT):
        sites = learner.model.backbone.sites_of(tower, "attention")
        assert len(sites) == {IMAGE: 4, TEXT: 2}[tower]
        assert [hasattr(site.exit, "addons") for site in sites] == [layer < depth for layer in range(len(sites))]
    assert all(branch.prefixes["0"].shape[:2] == (2, 5) for branch in branches(learner))


def test_options_of_the_calibration_reach_the_router() -> None:
    router = router_of(begun(domains(1), granularity="batch", divisor=7.0, jitter=0.5))
    assert (router.granularity, router.divisor, router.jitter) == ("batch", 7.0, 0.5)
    assert router_of(begun(domains(1), divisor=None)).divisor == 16, "the width of the features"


def test_its_router_leads_the_additions_of_others_too() -> None:
    stream = domains()
    experts = MoEAdapters(experts=4, bottleneck=4, lr=1e-2)
    learner = begun(stream, {"moe_adapters": experts})
    for experience in stream.train:
        learner.train(experience)
    _, output = answered(learner.model.eval(), mixed())
    assert output.route is not None
    assert output.route.ids.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(scores(learner.model, mixed((PLAIN,) * 6)), scores(plain(), mixed()))


def test_beside_replay_it_says_that_old_samples_teach_nothing() -> None:
    stream = domains(2)
    learner = begun(stream, {"replay": Replay(size=4)})
    for experience in stream.train:
        learner.train(experience)
    assert ["learns nothing from samples of earlier" in remark for remark in learner.remarks] == [True]


def test_text_features_of_strengths_that_come_once_are_not_kept() -> None:
    head = learned().model.head
    assert isinstance(head, TextHead)
    with torch.no_grad():
        for strength in (0.0, 0.3, 1.0):
            head.text_features(SPACE, (0, strength))
    assert {strength for _, strength in head._kept.setdefault(SPACE, {})} >= {0.0, 1.0}
    assert 0.3 not in {strength for _, strength in head._kept.setdefault(SPACE, {})}


class Calls(StrategyPlugin):
    """Counts the calls of the second step of every experience, up to the backward pass."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        if learner.step == 1:
            self.steps.append(0)
            sys.setprofile(self._called)

    def before_backward(self, learner: Learner, **_: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: object, event: str, argument: object) -> None:
        self.steps[-1] += event == "call"


def test_three_hundred_experiences_are_learned_and_each_keeps_its_prefixes_and_its_statistics() -> None:
    stream, counted = toy_benchmark(CIL, 300, per_class=1), Calls()
    learner = begun(stream, {"counted": counted}, steps=2, depth=1)
    kept = []
    for experience in stream.train:
        learner.train(experience)
        own = [branch.prefixes[str(experience.index)].detach().clone() for branch in branches(learner)]
        kept.append((own, router_of(learner).means[-1].clone()))
    for index, (own, mean) in enumerate(kept):
        assert all(torch.equal(b.prefixes[str(index)], v) for b, v in zip(branches(learner), own, strict=True))
        assert torch.equal(router_of(learner).means[index], mean)
    assert bool(router_of(learner).learned.all())
    assert counted.steps[50] == counted.steps[299], "the calls of a step do not grow"


def test_a_backbone_that_does_not_show_its_attention_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'attention'"):
        toy_learner(domains(1), {OWNER: DIKI()}, backbone=backbone)


def test_attention_without_a_query_that_can_be_read_is_refused() -> None:
    backbone = tiny_clip()
    for site in backbone.sites_of(TEXT, "attention"):
        site.exit.batch_first = False  # type: ignore[assignment]
    with pytest.raises(CompositionError, match="tower 'text' says how it is computed"):
        toy_learner(domains(1), {OWNER: DIKI()}, backbone=backbone)
