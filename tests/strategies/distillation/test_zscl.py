"""ZSCL's card, line by line: where easier versions go wrong."""

import torch
from mmcl_strategies.distillation.zscl import ZSCL
from torch import Tensor

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


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
