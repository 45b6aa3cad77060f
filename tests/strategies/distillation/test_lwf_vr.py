"""LwF-VR's card: what is drawn, when, and on which images."""

import pytest
import torch
from mmcl_strategies.distillation.lwf_vr import LwFVR
from mmcl_strategies.maths.sentences import sentences_of
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Vocabulary
from mmcl.streams.scenario import MDTIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


class Peek(StrategyPlugin):
    """Notes the sentences' features and the terms of every step."""

    def __init__(self, strategy: LwFVR) -> None:
        self.strategy = strategy
        self.keys: list[Tensor] = []
        self.terms: list[set[str]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        assert self.strategy._keys is not None
        self.keys.append(self.strategy._keys.clone())
        self.terms.append(set(learner.loss_terms))


def trained(strategy: LwFVR, monkeypatch: pytest.MonkeyPatch) -> tuple[Peek, list[Tensor]]:
    """What was seen in two experiences, and the sentences that were made up."""
    made: list[Tensor] = []

    def recorded(ids: Tensor, vocabulary: Vocabulary, context: int) -> Tensor:
        made.append(sentences_of(ids, vocabulary, context))
        return made[-1]

    monkeypatch.setattr("mmcl_strategies.distillation.lwf_vr.sentences_of", recorded)
    peek, benchmark = Peek(strategy), toy_benchmark()
    learner = toy_learner(benchmark, {"lwf_vr": strategy, "peek": peek})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    return peek, made


def test_sentences_are_random_tokens_between_start_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, (first, second) = trained(LwFVR(sentences=1500, length=10), monkeypatch)
    for sentences in (first, second):
        assert sentences.shape == (1500, 20)
        assert set(sentences[:, 0].tolist()) == {1}
        assert set(sentences[:, 11].tolist()) == {2}
        assert not sentences[:, 12:].any()
        drawn = sentences[:, 1:11].flatten()
        # uniform over all 2,000 ids, the special ones included: 15,000 draws miss about one of them
        assert len(drawn.unique()) > 1980
        assert {0, 1, 2} & set(drawn.tolist())
        assert abs(drawn.double().mean() - 999.5) < 20


def test_sentences_are_drawn_once_an_experience(monkeypatch: pytest.MonkeyPatch) -> None:
    peek, sentences = trained(LwFVR(sentences=30), monkeypatch)
    assert len(sentences) == 2
    assert not torch.equal(*sentences)
    assert len(peek.keys) == 8
    assert all(torch.equal(keys, peek.keys[4 * (step // 4)]) for step, keys in enumerate(peek.keys))


def test_distillation_is_active_in_the_first_experience(monkeypatch: pytest.MonkeyPatch) -> None:
    peek, _ = trained(LwFVR(sentences=30), monkeypatch)
    assert all({"lwf_vr/image", "lwf_vr/text"} <= terms for terms in peek.terms)


def test_the_teacher_is_the_model_handed_over() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"lwf_vr": LwFVR(sentences=30)}, lr=1e-2)
    initial = weights(learner)
    learner.train(benchmark.train[0])
    first = learner.teacher("previous").weights()
    assert all(torch.equal(first[name], initial[name]) for name in initial)
    handed_over = weights(learner)
    learner.train(benchmark.train[1])
    second = learner.teacher("previous").weights()
    assert all(torch.equal(second[name], handed_over[name]) for name in handed_over)
    assert any(not torch.equal(initial[name], handed_over[name]) for name in initial)


def test_images_come_un_augmented_and_in_an_order_of_their_own() -> None:
    asked: list[dict[str, object]] = []
    drawn: list[tuple[Tensor, Tensor]] = []

    class Both(StrategyPlugin):
        def before_training_exp(self, learner: Learner, **_: object) -> None:
            plain = learner.model.encode

            def encode(inputs: object) -> object:
                drawn.append((learner.batch.inputs[IMAGE], inputs[IMAGE]))  # type: ignore[index]
                return plain(inputs)  # type: ignore[arg-type]

            learner.model.encode = encode  # type: ignore[method-assign, assignment]

    benchmark = toy_benchmark(per_class=16)
    learner = toy_learner(benchmark, {"lwf_vr": LwFVR(sentences=10), "both": Both()})
    plain = learner.batches
    learner.batches = lambda *a, **k: asked.append(k) or plain(*a, **k)  # type: ignore[method-assign, func-returns-value]
    learner.train(benchmark.train[0])
    (own,) = [options for options in asked if options.get("name") == "lwf_vr"]
    assert own["augment"] is False
    others = [(batch, images) for batch, images in drawn if batch is not images]
    assert len(others) == 4
    assert not any(torch.equal(batch, images) for batch, images in others)


def test_the_text_tower_is_left_to_the_task_loss() -> None:
    benchmark, strategy = toy_benchmark(), LwFVR(sentences=30)
    learner = toy_learner(benchmark, {"lwf_vr": strategy})
    learner.train(benchmark.train[0])
    learner.experience = benchmark.train[0]
    learner.dataloader = learner.batches(benchmark.train[0].samples, 1)
    strategy.before_training_exp(learner)
    learner.optimizer.zero_grad()
    torch.stack(list(strategy.loss_terms(learner).values())).sum().backward()
    touched = {name for name, p in learner.model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert touched
    assert all("visual" in name for name in touched)


def test_experiences_without_images_have_no_terms() -> None:
    benchmark = toy_benchmark(MDTIL)
    learner = toy_learner(benchmark, {"lwf_vr": LwFVR(sentences=10)})
    terms = []
    for experience in benchmark.train:
        learner.train(experience)
        terms.append(len(learner.loss_terms))
    assert terms == [3, 1, 3]


def test_a_sentence_must_fit_the_text_tower() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"lwf_vr": LwFVR(length=19)})
    with pytest.raises(ConfigError, match="19 tokens"):
        learner.train(benchmark.train[0])


def test_no_sentence_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lwf_vr.sentences"):
        LwFVR(sentences=0)
