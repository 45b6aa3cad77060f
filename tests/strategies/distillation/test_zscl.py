"""ZSCL's card, line by line: where easier versions go wrong."""

import pytest
import torch
from mmcl_strategies.distillation.zscl import ZSCL
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import Initial, Interpolated
from mmcl.streams.scenario import TIL
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, weights


class Recorder(StrategyPlugin):
    """Notes the weights after every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def after_update(self, learner: Learner, **_: object) -> None:
        self.steps.append({name: p.detach().clone() for name, p in learner.model.shared_parameters()})


def test_the_teacher_is_the_pretrained_model_for_ever() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"zscl": ZSCL(consolidation=0.0)}, lr=1e-2)
    initial = weights(learner)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    teacher = dict(learner.teacher("initial").model.named_parameters())
    assert all(torch.equal(teacher[name], initial[name]) for name in initial)
    assert any(not torch.equal(value, initial[name]) for name, value in weights(learner).items())


def test_distillation_gives_the_text_tower_no_gradient() -> None:
    benchmark = toy_benchmark()
    strategy = ZSCL()
    learner = toy_learner(benchmark, {"zscl": strategy})
    learner.train(benchmark.train[0])
    learner.experience = benchmark.train[1]
    learner.dataloader = learner.batches(benchmark.train[1].samples, 1)
    strategy.before_training_exp(learner)
    learner.optimizer.zero_grad()
    torch.stack(list(strategy.loss_terms(learner).values())).sum().backward()
    gradients = {name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None}
    assert any("visual" in name for name in gradients)
    assert not any(bool(g.any()) for name, g in gradients.items() if "visual" not in name)


def test_the_handed_over_weights_are_the_plain_mean_of_start_and_snapshots() -> None:
    benchmark, recorder = toy_benchmark(TIL), Recorder()
    learner = toy_learner(
        benchmark, {"zscl": ZSCL(average_every=2), "recorder": recorder}, iterations=5, lr=1e-2, schedule="constant"
    )
    start = {name: p.detach().clone() for name, p in learner.model.shared_parameters()}
    learner.train(benchmark.train[0])
    snapshots = [start, *(recorder.steps[i] for i in (0, 2, 4))]
    for name, handed_over in learner.model.shared_parameters():
        expected = torch.stack([weights_[name].double() for weights_ in snapshots]).mean(0)
        torch.testing.assert_close(handed_over.double(), expected, rtol=1e-5, atol=1e-6)


def test_training_goes_on_from_the_weights_not_from_their_mean() -> None:
    benchmark = toy_benchmark(TIL)
    runs = []
    for every in (1, 0):
        recorder = Recorder()
        learner = toy_learner(benchmark, {"zscl": ZSCL(average_every=every), "recorder": recorder}, iterations=4)
        learner.train(benchmark.train[0])
        runs.append(recorder.steps[-1])
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_the_anchor_is_what_the_last_experience_handed_over() -> None:
    benchmark = toy_benchmark(TIL)
    strategy = ZSCL(average_every=1)
    anchors: list[dict[str, Tensor]] = []

    class Peek(StrategyPlugin):
        def before_forward(self, learner: Learner, **_: object) -> None:
            anchors.append(strategy._anchor)

    learner = toy_learner(benchmark, {"zscl": strategy, "peek": Peek()}, iterations=2, lr=1e-2)
    learner.train(benchmark.train[0])
    handed_over = {name: p.detach().clone() for name, p in learner.model.shared_parameters()}
    learner.train(benchmark.train[1])
    assert all(torch.equal(anchors[-1][name], handed_over[name]) for name in handed_over)


def test_consolidation_equals_a_loss_term() -> None:
    """The gradient side must give the update that the sum of squares in the loss would give."""

    class AsLoss(StrategyPlugin):
        def before_training_exp(self, learner: Learner, **_: object) -> None:
            self.anchor = {name: p.detach().clone() for name, p in learner.model.shared_parameters()}

        def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
            moved = [(p - self.anchor[name]).square().sum() for name, p in learner.model.shared_parameters()]
            return {"l2": 3.0 * torch.stack(moved).sum()}

    def train(strategies: dict[str, StrategyPlugin]) -> dict[str, Tensor]:
        benchmark = toy_benchmark(TIL)
        learner = toy_learner(benchmark, strategies, optimizer="sgd", lr=1e-3, iterations=6)
        learner.train(benchmark.train[0])
        return weights(learner)

    ours = train({"zscl": ZSCL(consolidation=3.0, average_every=0, image_weight=0.0, text_weight=0.0)})
    reference = train({"reference": AsLoss()})
    for name in ours:
        torch.testing.assert_close(ours[name], reference[name], rtol=1e-5, atol=1e-6)


def test_the_logit_scale_is_never_trained() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"zscl": ZSCL()}, lr=1e-2)
    before = learner.model.backbone.logit_scale.item()
    learner.train(benchmark.train[0])
    assert learner.model.backbone.logit_scale.item() == before


@pytest.mark.parametrize("teacher", ["initial", "interpolated"])
@pytest.mark.parametrize("iterations", [1, 4, 5])
def test_features_of_the_teacher_are_those_it_has_now_whether_they_are_looked_up_or_not(
    teacher: str, iterations: int
) -> None:
    """The reference data hold 18 images: 4 a step are fewer in 4 steps and more in 5."""
    strategy, benchmark = ZSCL(teacher=teacher, average_every=0), toy_benchmark(TIL)  # type: ignore[arg-type]
    policy = Initial() if teacher == "initial" else Interpolated()
    used: list[tuple[Tensor, Tensor]] = []

    class Peek(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            model, data = learner.teacher(policy).model, learner.reference
            assert data is not None
            assert strategy._keys is not None
            with torch.no_grad():
                texts = encoded(model.backbone, TEXT, model.backbone.tokenize(data.texts)).pooled
                images = torch.stack([data.images[index].inputs[IMAGE] for index in range(len(data.images))])
                images = encoded(model.backbone, IMAGE, images).pooled
            used.append((strategy._keys, torch.nn.functional.normalize(texts, dim=1)))
            if strategy._table is not None:
                used.append((strategy._table, images))
            assert (strategy._table is not None) is (iterations == 5)

    learner = toy_learner(benchmark, {"zscl": strategy, "peek": Peek()}, iterations=iterations, lr=1e-2)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    for found, expected in used:
        torch.testing.assert_close(found, expected)


def test_looked_up_features_belong_to_the_images_of_the_batch() -> None:
    losses = []
    for size in (4, 3):  # with 5 steps of 4 the features are looked up, with 5 of 3 they are computed
        strategy, benchmark = ZSCL(batch_size=size, consolidation=0.0, average_every=0), toy_benchmark(TIL)
        learner = toy_learner(benchmark, {"zscl": strategy}, iterations=5)
        learner.train(benchmark.train[0])
        learner.experience = benchmark.train[0]
        batch = next(learner.one_pass(learner.reference.images, 18))  # type: ignore[union-attr]
        order = torch.tensor([7, 2, 11])
        strategy._stream = iter([batch.select(order)])
        losses.append({name: float(value.detach()) for name, value in strategy.loss_terms(learner).items()})
        assert (strategy._table is not None) is (size == 4)
        with torch.no_grad():
            for name, parameter in learner.model.named_parameters():
                parameter.copy_(learner.teacher("initial").weights()[name])
        strategy._stream = iter([batch.select(order)])
        losses.append({name: float(value.detach()) for name, value in strategy.loss_terms(learner).items()})
    # with the teacher's own weights both ways give the teacher's entropy
    assert losses[1] == pytest.approx(losses[3], rel=1e-5)


def test_alpha_draws_the_mean_to_the_start_weights_at_every_snapshot() -> None:
    benchmark, recorder = toy_benchmark(TIL), Recorder()
    strategies = {"zscl": ZSCL(average_every=2, alpha=0.9), "recorder": recorder}
    learner = toy_learner(benchmark, strategies, iterations=5, lr=1e-2, schedule="constant")
    start = {name: p.detach().clone() for name, p in learner.model.shared_parameters()}
    learner.train(benchmark.train[0])
    for name, handed_over in learner.model.shared_parameters():
        expected = start[name]
        for count, step in enumerate((0, 2, 4), start=1):
            expected = 0.9 * (count * expected + recorder.steps[step][name]) / (count + 1) + 0.1 * start[name]
        torch.testing.assert_close(handed_over.detach(), expected, rtol=1e-5, atol=1e-6)


def test_terms_without_weight_are_not_there() -> None:
    benchmark = toy_benchmark(TIL)
    starred = ZSCL(consolidation=0.0)
    assert starred.terms() == (("image", "text"), ())
    learner = toy_learner(benchmark, {"zscl": ZSCL(consolidation=0.0, text_weight=0.0, feature_weight=1.0)})
    learner.train(benchmark.train[0])
    assert set(learner.loss_terms) == {"task", "zscl/image", "zscl/feature"}
    assert not learner.gradient_values


def test_reference_images_of_a_stream_of_pairs_bring_no_texts_to_encode() -> None:
    encoded: list[set[str]] = []

    class Peek(StrategyPlugin):
        def before_training_exp(self, learner: Learner, **_: object) -> None:
            plain = learner.model.encode
            learner.model.encode = lambda inputs: encoded.append(set(inputs)) or plain(inputs)  # type: ignore[method-assign, func-returns-value]

    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"zscl": ZSCL(), "peek": Peek()}, iterations=2)
    learner.train(benchmark.train[0])
    assert encoded == [{IMAGE, TEXT}, {IMAGE}, {IMAGE, TEXT}, {IMAGE}]


def test_every_term_is_that_of_the_definition() -> None:
    """Unit features, the logit scale, ``T^2``; means over images in one direction and over texts in the other."""
    benchmark, expected = toy_benchmark(TIL), list[dict[str, Tensor]]()
    strategy = ZSCL(temperature=3.0, image_weight=2.0, text_weight=0.5, consolidation=0.0, batch_size=6)
    drawn: list[Tensor] = []

    def soft(student: Tensor, teacher: Tensor) -> Tensor:
        return -9 * ((teacher / 3).softmax(1) * (student / 3).log_softmax(1)).sum(1).mean()

    class Definition(StrategyPlugin):
        @torch.no_grad()
        def before_backward(self, learner: Learner, **_: object) -> None:
            initial, data = learner.teacher("initial").model.backbone, learner.reference
            assert data is not None
            texts = functional.normalize(encoded(initial, TEXT, initial.tokenize(data.texts)).pooled, dim=1)
            scores = [
                initial.logit_scale * functional.normalize(encoded(b, IMAGE, drawn[-1]).pooled, dim=1) @ texts.T
                for b in (learner.model.backbone, initial)
            ]
            image, text = soft(*scores), soft(scores[0].T, scores[1].T)
            expected.append({"zscl/image": 2.0 * image, "zscl/text": 0.5 * text})
            for name, value in expected[-1].items():
                torch.testing.assert_close(learner.loss_terms[name], value, rtol=1e-4, atol=1e-5)

    learner = toy_learner(benchmark, {"zscl": strategy, "definition": Definition()}, lr=1e-2)
    encode = learner.encode
    learner.encode = lambda inputs: drawn.append(inputs[IMAGE]) or encode(inputs)  # type: ignore[method-assign, func-returns-value]
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert len(expected) == 8
    assert {len(images) for images in drawn} == {6}
