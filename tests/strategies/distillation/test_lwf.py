"""LwF's card: which answers are kept, by whom, and on which inputs."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.maths.distillation import head_distillation
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.encoded import encoded
from mmcl.testing.laboratory.nested import copied
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.models import ImageTower


def test_nothing_is_distilled_in_the_first_experience() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"lwf": LwF()})
    learner.train(benchmark.train[0])
    assert set(learner.loss_terms) == {"task"}


def test_current_prompts_are_distilled_from_the_first_experience_on() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"lwf": LwF(prompts="current", texts="frozen")})
    learner.train(benchmark.train[0])
    assert {"lwf/logits", "lwf/transposed"} <= set(learner.loss_terms)


def test_the_teacher_is_the_model_handed_over_and_does_not_follow_the_student() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"lwf": LwF()}, lr=1e-2)
    learner.train(benchmark.train[0])
    handed_over = weights(learner)
    learner.train(benchmark.train[1])
    teacher = dict(learner.teacher("previous").model.named_parameters())
    assert all(torch.equal(teacher[name], handed_over[name]) for name in handed_over)
    assert any(not torch.equal(value, handed_over[name]) for name, value in weights(learner).items())


def test_til_has_one_softmax_per_old_experience_and_cil_one_for_all() -> None:
    for scenario, heads in ((TIL, 2), (CIL, 1)):
        benchmark, strategy = toy_benchmark(scenario), LwF()
        learner = toy_learner(benchmark, {"lwf": strategy})
        for experience in benchmark.train:
            learner.train(experience)
        assert set(strategy._space.ids) == {0, 1, 2, 3}
        assert len(strategy._heads) == heads


def test_frozen_texts_leave_the_text_tower_to_the_task_loss() -> None:
    benchmark = toy_benchmark(TIL)
    strategy = LwF(texts="frozen")
    learner = toy_learner(benchmark, {"lwf": strategy})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    learner.experience = benchmark.train[1]
    learner.mbatch = next(learner.one_pass(benchmark.train[1].samples))
    learner.consider(learner.mbatch)
    learner.mb_output = learner.model.encode(learner.mbatch.inputs)
    learner.optimizer.zero_grad()
    torch.stack(list(strategy.loss_terms(learner).values())).sum().backward()
    touched = {name for name, p in learner.model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert touched
    assert all("visual" in name for name in touched)


def test_an_unknown_choice_is_refused_where_it_is_made() -> None:
    with pytest.raises(ConfigError, match=r"lwf.prompts.*'old' or 'current'"):
        LwF(prompts="new")


# The terms, against their definition.


class LastStep(StrategyPlugin):
    """Terms, models and features of the last step."""

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.terms = {name: value.detach() for name, value in learner.loss_terms.items()}
        teacher = learner.teacher("previous")
        self.models = deepcopy(learner.model), teacher.model
        self.outputs = learner.output, teacher.output(learner.batch)


def last_step(strategy: LwF, scenario: Scenario, backbone: Backbone | None = None, **training: Any) -> LastStep:
    """Of the third experience of the toy stream."""
    benchmark, last = toy_benchmark(scenario), LastStep()
    learner = toy_learner(benchmark, {"lwf": strategy, "last": last}, backbone=backbone, **{"lr": 1e-2, **training})
    for experience in benchmark.train:
        learner.train(experience)
    return last


def both(last: LastStep, head: Callable[[MultimodalModel, Tensor], Tensor]) -> list[Tensor]:
    """The scores of student and teacher."""
    with torch.no_grad():
        return [head(model, output.fused) for model, output in zip(last.models, last.outputs, strict=True)]  # type: ignore[arg-type]


def soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``mean_rows(-sum q log p)``, without any factor."""
    return -((teacher / temperature).softmax(1) * (student / temperature).log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize(("scenario", "parts"), [(TIL, [[0, 1], [2, 3]]), (CIL, [[0, 1, 2, 3]])])
def test_linear_heads_have_the_authors_form_without_the_square_of_the_temperature(
    scenario: Scenario, parts: list[list[int]]
) -> None:
    last = last_step(LwF(strength=3.0, temperature=4.0), scenario, ImageTower())
    student, teacher = both(last, lambda model, fused: fused @ model.head.weight.T + model.head.bias)  # type: ignore[union-attr, operator]
    expected = 3.0 * torch.stack([soft(student[:, c], teacher[:, c], 4.0) for c in parts]).sum()
    assert set(last.terms) == {"task", "lwf/logits"}
    torch.testing.assert_close(last.terms["lwf/logits"], expected)


@pytest.mark.parametrize("texts", ["own", "frozen"])
@pytest.mark.parametrize(("scenario", "parts"), [(TIL, [[0, 1], [2, 3]]), (CIL, [[0, 1, 2, 3]])])
def test_text_classifiers_have_both_directions_with_scale_and_square_of_the_temperature(
    scenario: Scenario, parts: list[list[int]], texts: str
) -> None:
    last = last_step(LwF(strength=3.0, temperature=4.0, texts=texts), scenario)
    space = LabelSpace.of(["alpha", "beta", "gamma", "delta"], templates=["{}"])

    def cosines(model: MultimodalModel, fused: Tensor) -> Tensor:
        owner = last.models[1] if texts == "frozen" else model
        prompts = encoded(owner.backbone, TEXT, owner.backbone.tokenize([label.prompts[0] for label in space])).pooled
        unit = functional.normalize(prompts, dim=1)
        return model.backbone.logit_scale * functional.normalize(fused, dim=1) @ unit.T

    student, teacher = both(last, cosines)
    rows = [soft(student[:, c], teacher[:, c], 4.0) for c in parts]
    columns = [soft(student[:, c].T, teacher[:, c].T, 4.0) for c in parts]
    torch.testing.assert_close(last.terms["lwf/logits"], 3.0 * 16 * torch.stack(rows).sum())
    torch.testing.assert_close(last.terms["lwf/transposed"], 3.0 * 16 * torch.stack(columns).sum())


def test_large_scores_do_not_underflow() -> None:
    """Probabilities raised to 1/T are 0 in float32 where scores are far apart; a gradient would vanish with them."""
    student = torch.tensor([[0.0, -150.0, -300.0]], requires_grad=True)
    teacher = torch.tensor([[-300.0, -150.0, 0.0]])
    loss = head_distillation(student, teacher, [torch.arange(3)], 2.0)
    assert float(loss.detach()) == pytest.approx(150.0)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, torch.tensor([[0.5, 0.0, -0.5]]))


def test_a_second_batch_is_un_augmented_and_in_an_order_of_its_own() -> None:
    asked: list[dict[str, Any]] = []
    seen: list[tuple[Inputs, Inputs]] = []

    class Both(StrategyPlugin):
        def before_training_exp(self, learner: Learner, **_: object) -> None:
            plain = learner.model.encode

            def encode(inputs: Inputs) -> Output:
                seen.append((learner.batch.inputs, inputs))
                return plain(inputs)

            learner.model.encode = encode  # type: ignore[method-assign]

    benchmark = toy_benchmark(TIL, per_class=16)
    strategy = LwF(prompts="current", texts="frozen", samples="second")
    learner = toy_learner(benchmark, {"lwf": strategy, "both": Both()})
    plain = learner.batches
    learner.batches = lambda *a, **k: asked.append(k) or plain(*a, **k)  # type: ignore[method-assign, func-returns-value]
    learner.train(benchmark.train[0])
    (own,) = [options for options in asked if options.get("name") == "lwf"]
    assert own["augment"] is False
    others = [(batch, inputs) for batch, inputs in seen if batch is not inputs]
    assert len(others) == 4
    assert not any(set(batch.sample_ids) == set(inputs.sample_ids) for batch, inputs in others)
    assert {"lwf/logits", "lwf/transposed"} <= set(learner.loss_terms)


# The warm-up.


class AtFirstStep(StrategyPlugin):
    """The model at the first step of each experience."""

    def __init__(self) -> None:
        self.found: list[dict[str, Tensor]] = []

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        if learner.step == 0 and len(self.found) < len(learner.seen):
            self.found.append(copied(learner.model.state_dict()))


def warmed(epochs: int, scenario: Scenario = CIL, **training: Any) -> tuple[Learner, AtFirstStep, dict[str, Tensor]]:
    """The learner after two experiences, the model at their first steps, and as the first one handed it over."""
    benchmark, first = toy_benchmark(scenario), AtFirstStep()
    strategies = {"lwf": LwF(warmup_epochs=epochs), "first": first}
    learner = toy_learner(benchmark, strategies, backbone=ImageTower(), **{"lr": 1e-2, **training})
    learner.train(benchmark.train[0])
    handed_over = copied(learner.model.state_dict())
    learner.train(benchmark.train[1])
    return learner, first, handed_over


@pytest.mark.parametrize("training", [{}, {"weight_decay": 0.1}, {"optimizer": "sgd"}], ids=str)
@pytest.mark.parametrize("scenario", [TIL, CIL])
def test_new_units_learn_alone_before_the_second_experience(scenario: Scenario, training: dict[str, Any]) -> None:
    _, cold, _ = warmed(0, scenario, **training)
    _, warm, handed_over = warmed(2, scenario, **training)
    assert all(torch.equal(value, cold.found[0][name]) for name, value in warm.found[0].items())
    for name, value in warm.found[1].items():
        if name in ("head.weight", "head.bias"):
            assert torch.equal(value[:2], handed_over[name])
            assert not torch.equal(value[2:], cold.found[1][name][2:])
        else:
            assert torch.equal(value, handed_over[name]), name


def test_the_warm_up_makes_new_units_better() -> None:
    losses = []
    for epochs in (0, 20):
        learner, first, _ = warmed(epochs, TIL)
        learner.model.load_state_dict(first.found[1])
        learner.experience = learner.seen[1]
        (batch,) = learner.one_pass(learner.seen[1].samples, 100)
        losses.append(-float(learner.log_likelihood(batch).mean().detach()))
    assert losses[1] < 0.5 * losses[0]


def test_where_no_class_is_new_nothing_is_warmed_up() -> None:
    _, first, handed_over = warmed(2, DIL)
    assert all(torch.equal(value, handed_over[name]) for name, value in first.found[1].items())


def test_text_classifiers_have_nothing_to_warm_up() -> None:
    trained = []
    for epochs in (0, 3):
        benchmark = toy_benchmark(CIL)
        learner = toy_learner(benchmark, {"lwf": LwF(warmup_epochs=epochs)})
        for experience in benchmark.train[:2]:
            learner.train(experience)
        trained.append(weights(learner))
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
