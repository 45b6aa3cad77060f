"""Every experience has prompts of its own, found by frozen features, and nobody tells which one a sample belongs to."""

import math
import sys
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.placeholders import require_room
from mmcl_strategies.parameter_efficient.prompts import Prompts
from mmcl_strategies.parameter_efficient.s_liprompts import CONTEXT_DEVIATION, SLiPrompts
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.routing.centroids import NearestCentroid
from sklearn.cluster import KMeans
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.route import PLAIN, Route
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.samples import Raw, rewritten

from .domains import DOMAINS, SPACE, Modes, Seen, domains, mixed, plain_clip, scores

SMALL: dict[str, Any] = {"prompt_length": 2, "context": 3, "clusters": 2, "restarts": 1}


def begun(
    stream: Benchmark, others: dict[str, StrategyPlugin] | None = None, steps: int = 3, **options: Any
) -> Learner:
    strategies = {"s_liprompts": SLiPrompts(**{**SMALL, **options}), **(others or {})}
    return toy_learner(stream, strategies, schedule="constant", iterations=steps)


def learned(count: int = DOMAINS, **options: Any) -> Learner:
    stream = domains(count)
    learner = begun(stream, **options)
    for experience in stream.train:
        learner.train(experience)
    return learner


def prompts_of(learner: Learner) -> list[Prompts]:
    return [module for module in learner.model.modules() if isinstance(module, Prompts)]


def centres_of(learner: Learner) -> Tensor:
    assert isinstance(learner.model.router, NearestCentroid)
    return learner.model.router.centres


def test_the_plain_way_is_plain_clip_bit_for_bit_with_the_templates_of_the_benchmark() -> None:
    learner = learned()
    model = learner.model.eval()
    plain = plain_clip()
    assert torch.equal(scores(model, mixed((PLAIN,) * 6)), scores(plain, mixed()))
    weak = mixed().replace(route=Route(torch.tensor([0, 1, 2, 0, 1, 2]), torch.zeros(6)))
    torch.testing.assert_close(scores(model, weak), scores(plain, mixed()))
    assert not torch.allclose(scores(model, mixed((0,) * 6)), scores(plain, mixed()))


def test_before_anything_is_learned_answers_are_plain_clips() -> None:
    model = begun(domains()).model.eval()
    assert torch.equal(scores(model, mixed()), scores(plain_clip(), mixed()))


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    model = learned().model.eval()
    batch = mixed((0, PLAIN, 2, 1, 1, 0))
    alone = [scores(model, batch.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(scores(model, batch), torch.cat(alone))


def test_samples_of_one_batch_take_ways_of_their_own() -> None:
    model = learned().model.eval()
    with torch.no_grad():
        route = model.predict(mixed()).route
    assert route is not None
    assert route.ids.tolist() == [0, 0, 1, 1, 2, 2]
    torch.testing.assert_close(scores(model, mixed()), scores(model, mixed((0, 0, 1, 1, 2, 2))))


def test_no_answer_depends_on_the_experience_a_sample_says_it_is_of() -> None:
    learner, answers = learned(), []
    for told in (None, 0, 2):
        stream = domains(told=told)
        found = Seen()
        for test in stream.test:
            learner.evaluate(test, found)
            answers.append(torch.cat(found.scores))
            assert found.ways == [test.index] * 8
    for first, again in zip(answers[:DOMAINS] * 2, answers[DOMAINS:], strict=True):
        assert torch.equal(first, again)


def test_centres_do_not_depend_on_the_prompts() -> None:
    slow, fast = learned(lr=0.01), learned(lr=0.5)
    assert not torch.allclose(prompts_of(slow)[0].vectors["0"], prompts_of(fast)[0].vectors["0"])
    assert torch.equal(centres_of(slow), centres_of(fast))
    assert centres_of(slow).shape == (DOMAINS, 2, 16)
    unit = centres_of(slow).norm(dim=2)
    assert bool((unit < 1).all()), "means of unit vectors, not normalised again"


def test_everything_but_the_prompts_of_the_experience_stays_bit_for_bit() -> None:
    stream = domains()
    learner = begun(stream)
    for experience in stream.train:
        learner.meet(experience)
        before, centres = weights(learner), centres_of(learner).clone()
        learner.train(experience)
        after = weights(learner)
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        own = {name for name in before if f".addons.s_liprompts.vectors.{experience.index}" in name}
        assert moved == own
        assert len(own) == 2
        assert torch.equal(centres_of(learner)[: experience.index], centres[: experience.index])
        assert {id(p) for group in learner.optimizer.param_groups for p in group["params"]} == {
            id(p) for prompts in prompts_of(learner) for p in [prompts.vectors[str(experience.index)]]
        }


def test_prompts_begin_anew_in_every_experience() -> None:
    stream = domains()
    starts = []
    for lr in (0.01, 0.5):
        learner = begun(stream, lr=lr)
        learner.train(stream.train[0])
        learner.meet(stream.train[1])
        starts.append([prompts.vectors["1"].detach().clone() for prompts in prompts_of(learner)])
        assert not any(torch.equal(p.vectors["0"], p.vectors["1"]) for p in prompts_of(learner))
    for slow, fast in zip(*starts, strict=True):
        assert torch.equal(slow, fast)


def test_new_prompts_are_uniform_and_new_contexts_normal() -> None:
    stream = domains(1)
    learner = begun(stream, prompt_length=200, context=10)
    learner.meet(stream.train[0])
    image, text = (prompts.vectors["0"].detach() for prompts in prompts_of(learner))
    bound = 1 / math.sqrt(32)
    assert 0.99 * bound < float(image.abs().max()) <= bound
    assert float(image.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert float(text.std()) == pytest.approx(CONTEXT_DEVIATION, rel=0.2)


def test_texts_are_those_of_the_way() -> None:
    head = learned().model.head
    assert isinstance(head, TextHead)
    with torch.no_grad():
        plain, first, second = (head.text_features(SPACE, way) for way in ((PLAIN, 0.0), (0, 1.0), (1, 1.0)))
        bare = TextHead(tiny_clip()).text_features(SPACE)
    assert torch.equal(plain, bare)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, bare)


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


def test_the_network_is_in_evaluation_mode_while_prompts_are_learned() -> None:
    stream, modes = domains(1), Modes()
    begun(stream, {"modes": modes}).train(stream.train[0])
    assert modes.training == {False}


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_prompts_have_a_rate_of_their_own_unless_they_are_told_not_to(lr: float | None, rate: float) -> None:
    stream, modes = domains(1), Modes()
    begun(stream, {"modes": modes}, lr=lr).train(stream.train[0])
    assert modes.seen == [rate] * 3


def test_centres_are_those_of_augmented_images_unless_plain_ones_are_wanted() -> None:
    found = []
    for augmented in (True, True, False):
        stream = rewritten(domains(1), lambda samples, *_: Raw(samples))
        learner = begun(stream, augmented_keys=augmented)
        learner.train(stream.train[0])
        found.append(centres_of(learner))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_the_centres_are_the_best_of_as_many_restarts_as_the_option_says(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    original = KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda means, samples: tried.append(means.n_init) or original(means, samples))
    for restarts in (1, 4):
        learned(1, restarts=restarts)
    assert tried == [1, 4]


def test_the_metric_is_that_of_the_option() -> None:
    for metric in ("l1", "euclidean"):
        router = begun(domains(1), metric=metric).model.router
        assert isinstance(router, NearestCentroid)
        assert router.metric == metric


def test_beside_replay_it_says_that_old_samples_teach_nothing() -> None:
    stream = domains(2)
    learner = begun(stream, {"replay": Replay(size=4)})
    for experience in stream.train:
        learner.train(experience)
    assert ["learns nothing from samples of earlier" in remark for remark in learner.remarks] == [True]


def test_a_context_without_room_beside_the_names_is_refused_with_the_room_there_is() -> None:
    backbone = tiny_clip()
    space = LabelSpace.of(["alpha", "beta gamma delta"])
    require_room(backbone, space, 15, option="mine.context")
    with pytest.raises(
        ConfigError, match=r"mine\.context: 16 words, and the class 'beta gamma delta' leaves room for 15"
    ):
        require_room(backbone, space, 16, option="mine.context")


def test_a_hundred_experiences_are_learned_and_each_keeps_its_prompts() -> None:
    stream, counted = toy_benchmark(DIL, 100, per_class=1), Calls()
    learner = begun(stream, {"counted": counted}, steps=2)
    kept = []
    for experience in stream.train:
        learner.train(experience)
        kept.append([prompts.vectors[str(experience.index)].detach().clone() for prompts in prompts_of(learner)])
    for index, own in enumerate(kept):
        assert all(torch.equal(p.vectors[str(index)], v) for p, v in zip(prompts_of(learner), own, strict=True))
    assert bool(centres_of(learner)[:, 0].any(1).all())
    assert counted.steps[50] == counted.steps[99], "the calls of a step do not grow"


class Startless:
    """Writes texts without a start."""

    def __init__(self, whole: Any) -> None:
        self.whole, self.tokenizer = whole, whole.tokenizer

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.cat([self.whole(texts)[:, 1:], torch.zeros(len(texts), 1, dtype=torch.long)], 1)


def test_texts_without_a_start_token_are_refused() -> None:
    backbone = tiny_clip()
    backbone.tokenizer = Startless(backbone.tokenizer)
    with pytest.raises(
        CompositionError, match=r"strategy 'mine': .* does not write 'X' as one token behind a start token"
    ):
        require_room(backbone, SPACE, 4, option="mine.context")


def test_a_backbone_that_does_not_show_its_tokens_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'tokens'"):
        toy_learner(domains(1), {"s_liprompts": SLiPrompts()}, backbone=backbone)
