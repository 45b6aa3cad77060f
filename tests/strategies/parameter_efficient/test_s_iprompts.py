"""Every experience has image prompts and a head of its own, found by frozen features; no text is read."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.domain_heads import DomainHeads
from mmcl_strategies.parameter_efficient.prompts import Prompts
from mmcl_strategies.parameter_efficient.s_iprompts import OWNER, SIPrompts
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.routing.centroids import NearestCentroid
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.errors import CompositionError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, HIDDEN_TIL, TIL, XTAIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.models import ImageTower
from mmcl.testing.toy.samples import Raw, rewritten

from .domains import DOMAINS, SPACE, Modes, Seen, domains, mixed, plain_clip, scores

SMALL: dict[str, Any] = {"prompt_length": 2, "clusters": 2, "restarts": 1}


def begun(
    stream: Benchmark, others: dict[str, StrategyPlugin] | None = None, steps: int = 3, **options: Any
) -> Learner:
    backbone = options.pop("backbone", None)
    strategies = {OWNER: SIPrompts(**{**SMALL, **options}), **(others or {})}
    return toy_learner(stream, strategies, backbone=backbone, schedule="constant", iterations=steps)


def learned(count: int = DOMAINS, **options: Any) -> Learner:
    stream = domains(count)
    learner = begun(stream, **options)
    for experience in stream.train:
        learner.train(experience)
    return learner


def prompts_of(learner: Learner) -> Prompts:
    (prompts,) = (module for module in learner.model.modules() if isinstance(module, Prompts))
    return prompts


def heads_of(learner: Learner) -> DomainHeads:
    assert isinstance(learner.model.head, DomainHeads)
    return learner.model.head


def centres_of(learner: Learner) -> Tensor:
    assert isinstance(learner.model.router, NearestCentroid)
    return learner.model.router.centres


def own_parts(learner: Learner, experience: int) -> set[str]:
    return {f"backbone.clip.visual.patch_dropout.addons.{OWNER}.vectors.{experience}"} | {
        f"head.units.{experience}.{part}" for part in ("weight", "bias")
    }


def test_the_plain_way_is_plain_clip_bit_for_bit_and_so_are_all_before_anything_is_learned() -> None:
    model = learned().model.eval()
    assert torch.equal(scores(model, mixed((PLAIN,) * 6)), scores(plain_clip(), mixed()))
    weak = mixed().replace(route=Route(torch.tensor([0, 1, 2, 0, 1, 2]), torch.zeros(6)))
    torch.testing.assert_close(scores(model, weak), scores(plain_clip(), mixed()))
    assert not torch.allclose(scores(model, mixed((0,) * 6)), scores(plain_clip(), mixed()))
    assert torch.equal(scores(begun(domains()).model.eval(), mixed()), scores(plain_clip(), mixed()))


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    model = learned().model.eval()
    batch = mixed((0, PLAIN, 2, 1, 1, 0))
    alone = [scores(model, batch.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(scores(model, batch), torch.cat(alone))


def test_samples_of_one_batch_take_ways_of_their_own_through_prompts_and_heads() -> None:
    learner = learned()
    model = learner.model.eval()
    with torch.no_grad():
        output = model.predict(mixed())
    assert output.route is not None
    assert output.route.ids.tolist() == [0, 0, 1, 1, 2, 2]
    for row, way in enumerate(output.route.ids.tolist()):
        alone = mixed().select(torch.tensor([row])).replace(route=Route.given(torch.tensor([way])))
        with torch.no_grad():
            features = model.encode(alone).features[IMAGE]
            expected = heads_of(learner).units[str(way)](features)
        assert output.logits is not None
        torch.testing.assert_close(output.logits[row : row + 1], expected)


def test_answers_are_among_the_classes_that_the_domains_share() -> None:
    learner = learned()
    assert [units.out_features for units in heads_of(learner).units.values()] == [2] * DOMAINS
    assert scores(learner.model.eval(), mixed()).shape == (6, len(SPACE))


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


def test_the_loss_is_the_cross_entropy_of_the_units_on_prompted_features() -> None:
    stream = domains(2)

    class Compared(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            inputs, units = learner.batch.inputs, heads_of(learner).units[str(learner.current.index)]
            way = Route.given(torch.full((len(learner.batch.targets),), learner.current.index))
            features = learner.model.encode(inputs.replace(route=way)).features[IMAGE]
            expected = functional.cross_entropy(units(features), learner.batch.targets)
            torch.testing.assert_close(learner.loss, expected)

    learner = begun(stream, {"compared": Compared()})
    for experience in stream.train:
        learner.train(experience)


def test_centres_do_not_depend_on_the_prompts() -> None:
    slow, fast = learned(lr=0.01), learned(lr=0.5)
    assert not torch.allclose(prompts_of(slow).vectors["0"], prompts_of(fast).vectors["0"])
    assert torch.equal(centres_of(slow), centres_of(fast))
    assert centres_of(slow).shape == (DOMAINS, 2, 16)
    assert bool((centres_of(slow).norm(dim=2) < 1).all()), "means of unit vectors, not normalised again"


def test_everything_but_prompts_and_head_of_the_experience_stays_bit_for_bit() -> None:
    stream = domains()
    learner = begun(stream)
    for experience in stream.train:
        learner.meet(experience)
        before, centres = weights(learner), centres_of(learner).clone()
        learner.train(experience)
        moved = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
        assert moved == own_parts(learner, experience.index)
        assert torch.equal(centres_of(learner)[: experience.index], centres[: experience.index])
        trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
        assert trained == {id(dict(learner.model.named_parameters())[name]) for name in moved}


def test_prompts_and_heads_begin_anew_in_every_experience() -> None:
    stream, starts = domains(), []
    for lr in (0.01, 0.5):
        learner = begun(stream, lr=lr)
        learner.train(stream.train[0])
        learner.meet(stream.train[1])
        starts.append([weights(learner)[name] for name in sorted(own_parts(learner, 1))])
        assert not torch.equal(*(prompts_of(learner).vectors[s] for s in ("0", "1")))
        assert not torch.equal(*(units.weight for units in heads_of(learner).units.values()))  # type: ignore[arg-type]
    for slow, fast in zip(*starts, strict=True):
        assert torch.equal(slow, fast)


def test_the_network_is_in_evaluation_mode_while_prompts_are_learned() -> None:
    stream, modes = domains(1), Modes()
    begun(stream, {"modes": modes}).train(stream.train[0])
    assert modes.training == {False}


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_prompts_and_heads_have_a_rate_of_their_own_unless_they_are_told_not_to(lr: float | None, rate: float) -> None:
    stream = domains(1)
    learner = begun(stream, lr=lr)
    learner.train(stream.train[0])
    assert [group["lr"] for group in learner.optimizer.param_groups] == [rate]


def test_centres_are_those_of_augmented_images_unless_plain_ones_are_wanted() -> None:
    found = []
    for augmented in (True, True, False):
        stream = rewritten(domains(1), lambda samples, *_: Raw(samples))
        learner = begun(stream, augmented_keys=augmented)
        learner.train(stream.train[0])
        found.append(centres_of(learner))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_prompts_have_the_length_of_the_option() -> None:
    stream = domains(1)
    learner = begun(stream, prompt_length=7)
    learner.meet(stream.train[0])
    assert prompts_of(learner).vectors["0"].shape == (7, 32)


def test_metric_and_number_of_centres_are_those_of_the_options() -> None:
    for metric, clusters in (("l1", 3), ("euclidean", 1)):
        router = begun(domains(1), metric=metric, clusters=clusters).model.router
        assert isinstance(router, NearestCentroid)
        assert router.metric == metric
        assert router.centres.shape == (0, clusters, 16)


def test_beside_replay_it_says_that_old_samples_teach_nothing() -> None:
    stream = domains(2)
    learner = begun(stream, {"replay": Replay(size=4)})
    for experience in stream.train:
        learner.train(experience)
    assert ["s_iprompts learns nothing from samples of earlier" in remark for remark in learner.remarks] == [True]


def test_it_needs_no_text_tower() -> None:
    stream = toy_benchmark(DIL, 2)
    learner = begun(stream, backbone=ImageTower(), steps=40, lr=0.05)
    for experience in stream.train:
        learner.train(experience)
    assert min(learner.evaluate(test, Accuracy()) for test in stream.test) > 90
    with torch.no_grad():
        plain = learner.model.eval().predict(mixed((PLAIN,) * 6)).logits
    assert plain is not None
    assert bool(plain.isfinite().all())


def around(scenario: Scenario | None, answers: AnswerKind = AnswerKind.CLASS) -> Surroundings:
    return Surroundings(scenario=scenario, towers=frozenset({frozenset({IMAGE})}), answers=answers)


@pytest.mark.parametrize("scenario", [CIL, HIDDEN_TIL, XTAIL], ids=str)
def test_streams_whose_heads_could_not_be_compared_are_refused(scenario: Scenario) -> None:
    with pytest.raises(CompositionError, match=r"needs experiences that share their classes"):
        check_composition([SIPrompts()], [OWNER], around(scenario))


def test_pairs_are_refused() -> None:
    with pytest.raises(CompositionError, match=r"needs experiences that share their classes"):
        check_composition([SIPrompts()], [OWNER], around(DIL, AnswerKind.PARTNER))


@pytest.mark.parametrize("scenario", [DIL, TIL, None], ids=str)
def test_domains_and_known_tasks_are_welcome(scenario: Scenario | None) -> None:
    check_composition([SIPrompts()], [OWNER], around(scenario))


def test_where_the_task_is_known_its_head_answers_among_its_classes() -> None:
    stream = toy_benchmark(TIL, 3)
    learner = begun(stream, steps=30, lr=0.05)
    for experience in stream.train:
        learner.train(experience)
    found = Seen()
    for test in stream.test:
        learner.evaluate(test, found)
        assert set(found.ways) == {test.index}
        assert all(of_batch.shape[1] == 2 for of_batch in found.scores)
        assert learner.evaluate(test, Accuracy()) > 90


def test_a_backbone_that_does_not_show_its_tokens_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match=r"'s_iprompts'.*tower 'image' shows no site of kind 'tokens'"):
        begun(domains(1), backbone=backbone)


def test_a_hundred_experiences_are_learned_and_each_keeps_its_prompts_and_its_head() -> None:
    stream = toy_benchmark(DIL, 100, per_class=1)
    learner, kept = begun(stream, steps=1), list[dict[str, Tensor]]()
    for experience in stream.train:
        learner.train(experience)
        after = dict(learner.model.named_parameters())
        kept.append({name: after[name].detach().clone() for name in own_parts(learner, experience.index)})
    last = dict(learner.model.named_parameters())
    assert all(torch.equal(last[name], value) for own in kept for name, value in own.items())
    assert bool(centres_of(learner)[:, 0].any(1).all())


def test_a_run_that_was_interrupted_gives_the_same_weights() -> None:
    stream, through = domains(), begun(domains())
    for experience in stream.train[:2]:
        through.train(experience)
    tensors = deepcopy(model_tensors(through.model, ()))
    through.train(stream.train[2])
    torch.manual_seed(99)
    resumed = begun(stream)
    for experience in stream.train[:2]:
        resumed.meet(experience)
    restore_model(resumed.model, tensors)
    resumed.train(stream.train[2])
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(through).items())
    assert torch.equal(centres_of(through), centres_of(resumed))
