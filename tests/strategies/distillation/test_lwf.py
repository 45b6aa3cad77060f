"""LwF's card: which answers are kept, by whom, and on which inputs."""

import pytest
import torch
from mmcl_strategies.distillation.lwf import LwF

from mmcl.errors import ConfigError
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


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
        ((space, columns),) = strategy._spaces.values()
        assert set(space.ids) == {0, 1, 2, 3}
        assert len(columns) == heads


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
