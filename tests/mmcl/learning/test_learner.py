"""One step and one evaluation pass: what is trained, what is hidden, what competes, what is left as it was."""

import random

import numpy as np
import pytest
import torch
from mmcl_strategies.pseudo_replay.dgr import DGR
from mmcl_strategies.pseudo_replay.feature_replay import FeatureReplay
from mmcl_strategies.replay.replay import Replay

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch
from mmcl.errors import TrainingError
from mmcl.evaluation.metric import Accuracy, Metric
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.output import Output
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


class Watcher(Metric):
    """Notes what the model and the metric are shown."""

    name = "watcher"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.spaces: list[LabelSpace] = []
        self.task_ids: list[int] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        self.spaces.append(label_space)
        self.task_ids += batch.task_ids.tolist()

    def compute(self) -> float:
        return 0.0


class Spy:
    """An avalanche-style plugin that looks at the batch at evaluation."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, int]] = []

    def before_eval_forward(self, learner: Learner, **_: object) -> None:
        self.seen.append((learner.batch.inputs.task_ids is None, int(learner.mb_task_id[0])))


def test_learning_one_experience_makes_it_better() -> None:
    benchmark = toy_benchmark(TIL, experiences=1, per_class=16)
    learner = toy_learner(benchmark, iterations=30)
    before = learner.evaluate(benchmark.test[0], Accuracy())
    learner.train(benchmark.train[0])
    assert learner.evaluate(benchmark.test[0], Accuracy()) > max(before, 90)


def test_frozen_parameters_stay_bit_identical() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, freeze=["*logit_scale", "*visual*"], weight_decay=0.5)
    before = weights(learner)
    learner.train(benchmark.train[0])
    after = weights(learner)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("visual" in name or "logit_scale" in name for name in moved)


def test_a_backbone_has_defaults_for_training_and_benchmark_and_user_come_before_it() -> None:
    benchmark, backbone = toy_benchmark(), tiny_clip()
    assert toy_learner(benchmark).config.freeze == ("*logit_scale",)
    backbone.training_defaults = {"freeze": ("*visual*",), "lr": 0.5, "betas": (0.5, 0.5)}
    learner = toy_learner(benchmark, backbone=backbone, betas=(0.9, 0.9))
    learner.train(benchmark.train[0])
    assert (learner.config.freeze, learner.config.betas) == (("*visual*",), (0.9, 0.9))
    assert learner.config.lr == benchmark.training["lr"]
    frozen = {name for name, parameter in learner.model.named_parameters() if not parameter.requires_grad}
    assert {"visual" in name for name in frozen} == {True}
    assert [learner.chose(setting) for setting in ("freeze", "lr", "betas")] == [False, True, True]


def test_the_last_step_of_the_cosine_schedule_has_rate_zero() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, iterations=5, warmup=2)
    learner.train(benchmark.train[0])
    assert learner.optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("scenario", [CIL, DIL])
def test_task_ids_are_hidden_at_evaluation_but_the_metric_gets_them(scenario: object) -> None:
    benchmark = toy_benchmark(scenario)  # type: ignore[arg-type]
    spy, watcher = Spy(), Watcher()
    learner = toy_learner(benchmark)
    learner.plugins.insert(0, spy)
    learner._hooks["before_eval_forward"] = learner._overridden("before_eval_forward")
    learner.train(benchmark.train[0])
    learner.evaluate(benchmark.test[1], watcher)
    assert set(spy.seen) == {(True, -1)}
    assert set(watcher.task_ids) == {1}


def test_task_ids_are_given_at_evaluation_in_til() -> None:
    benchmark = toy_benchmark(TIL)
    spy = Spy()
    learner = toy_learner(benchmark)
    learner.plugins.insert(0, spy)
    learner._hooks["before_eval_forward"] = learner._overridden("before_eval_forward")
    learner.evaluate(benchmark.test[1], Watcher())
    assert set(spy.seen) == {(False, 1)}


def test_the_scenario_decides_which_classes_compete_at_test_time() -> None:
    for scenario, expected in ((TIL, {0, 1}), (CIL, {0, 1, 2, 3}), (DIL, {0, 1})):
        benchmark = toy_benchmark(scenario)
        learner, watcher = toy_learner(benchmark), Watcher()
        for experience in benchmark.train[:2]:
            learner.train(experience)
        learner.evaluate(benchmark.test[0], watcher)
        assert {i for space in watcher.spaces for i in space.ids} == expected, scenario.name


def test_evaluation_uses_all_templates_and_training_only_the_first() -> None:
    benchmark = toy_benchmark(TIL)
    learner, watcher = toy_learner(benchmark), Watcher()
    learner.train(benchmark.train[0])
    assert all(len(label.templates) == 1 for label in learner.label_space)
    learner.evaluate(benchmark.test[0], watcher)
    assert all(len(label.templates) == 2 for label in watcher.spaces[0])


@pytest.mark.parametrize(("scenario", "own_classes"), [(TIL, False), (CIL, True)], ids=["TIL", "CIL with own classes"])
def test_mixed_batches_score_each_row_among_the_classes_of_its_own_experience(
    scenario: Scenario, own_classes: bool
) -> None:
    class Rows(StrategyPlugin):
        mixed = 0

        def after_forward(self, learner: Learner, **_: object) -> None:
            if learner.allowed is None:
                return
            Rows.mixed += 1
            for allowed, task in zip(learner.allowed, learner.batch.task_ids.tolist(), strict=True):
                competing = {learner.label_space.ids[column] for column in allowed.nonzero().flatten().tolist()}
                assert competing == set(benchmark.experiences[task].label_space.ids)

    benchmark = toy_benchmark(scenario)
    strategies = {"replay": Replay(size=8), "rows": Rows()}
    learner = toy_learner(benchmark, strategies, iterations=6, own_classes=own_classes)
    learner.train(benchmark.train[0])
    learner.train(benchmark.train[1])
    assert Rows.mixed > 0


def test_with_own_classes_class_incremental_training_is_that_of_task_incremental_and_the_test_is_not() -> None:
    def learned(scenario: Scenario, **training: bool) -> tuple[dict[str, torch.Tensor], int]:
        benchmark, watcher = toy_benchmark(scenario), Watcher()
        learner = toy_learner(benchmark, **training)  # type: ignore[arg-type]
        for experience in benchmark.train[:2]:
            learner.train(experience)
        learner.evaluate(benchmark.test[0], watcher)
        return weights(learner), len(watcher.spaces[0])

    (own, seen), (task, alone), (plain, _) = learned(CIL, own_classes=True), learned(TIL), learned(CIL)
    assert all(torch.equal(own[name], task[name]) for name in own)
    assert any(not torch.equal(own[name], plain[name]) for name in own)
    assert (seen, alone) == (4, 2)


@pytest.mark.parametrize(
    "strategy", [DGR(latent=4, width=4, generator_steps=1), FeatureReplay()], ids=["dgr", "features"]
)
def test_generated_samples_of_old_classes_keep_to_the_classes_of_their_experience(strategy: StrategyPlugin) -> None:
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, {"replay": strategy}, iterations=2, own_classes=True)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert learner.loss_terms["replay/replay"].isfinite()
    assert learner.loss_terms["replay/replay"] > 0


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs() -> None:
    def train(seed: int) -> dict[str, torch.Tensor]:
        benchmark = toy_benchmark()
        learner = toy_learner(benchmark, {"replay": Replay(size=5)})
        learner.seed = seed
        for experience in benchmark.train:
            learner.train(experience)
        return weights(learner)

    first, second, other = train(1), train(1), train(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_evaluation_in_between_changes_nothing() -> None:
    def train(evaluate: bool) -> dict[str, torch.Tensor]:
        benchmark = toy_benchmark()
        learner = toy_learner(benchmark, {"replay": Replay(size=5)})
        for experience in benchmark.train:
            learner.train(experience)
            if evaluate:
                learner.evaluate(benchmark.test[0], Accuracy())
        return weights(learner)

    first, second = train(True), train(False)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_global_generators_are_as_before() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    learner.train(benchmark.train[0])
    learner.evaluate(benchmark.test[0], Accuracy())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_a_loss_that_is_not_finite_names_experience_step_and_term() -> None:
    class Explodes(StrategyPlugin):
        def loss_terms(self, learner: Learner) -> dict[str, torch.Tensor]:
            return {"fine": torch.zeros(()), "bad": torch.tensor(float("nan"))}

    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"explodes": Explodes()})
    before = weights(learner)
    with pytest.raises(TrainingError, match=r"experience 'toy0', step 0.*'explodes/bad'"):
        learner.train(benchmark.train[0])
    after = weights(learner)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_unit_of_work_is_the_step_however_small_the_data_set() -> None:
    benchmark = toy_benchmark(per_class=1)
    learner = toy_learner(benchmark, iterations=7, batch_size=4)
    learner.train(benchmark.train[0])
    assert learner.clock.train_iterations == 7


def test_weights_in_bf16_autocast_stay_float32() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, precision="bf16")
    learner.train(benchmark.train[0])
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float32}


def test_worker_processes_change_no_number() -> None:
    def train(workers: int) -> dict[str, torch.Tensor]:
        benchmark = toy_benchmark()
        learner = toy_learner(benchmark, {"replay": Replay(size=5)}, num_workers=workers)
        for experience in benchmark.train[:2]:
            learner.train(experience)
        return weights(learner)

    alone, helped = train(0), train(1)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
