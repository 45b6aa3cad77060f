"""Plugins of avalanche, unmodified, in a learner: each does here what it is there for."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import InteractiveLogger, TextLogger
from avalanche.training import plugins as stock
from avalanche.training.templates.base_sgd import PeriodicEval
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau, StepLR

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.collate import TensorSamples
from mmcl.errors import CompositionError, ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, weights

ITERATIONS = 6


def learner_for(
    benchmark: Benchmark,
    plugins: Sequence[Any] = (),
    strategies: dict[str, StrategyPlugin] | None = None,
    model: MultimodalModel | None = None,
    **training: Any,
) -> Learner:
    settings = {"iterations": ITERATIONS, "lr": 1e-3, "schedule": "constant", "warmup": 0, **training}
    return Learner(
        model=MultimodalModel(tiny_clip()) if model is None else model,
        scenario=benchmark.scenario,
        strategies=strategies,
        plugins=plugins,
        training=settings,
        defaults=benchmark.training,
    )


def learn(benchmark: Benchmark, plugins: Sequence[Any] = (), **options: Any) -> Learner:
    learner = learner_for(benchmark, plugins, **options)
    for experience in benchmark.train:
        learner.train(experience)
    return learner


class Watch:
    """Notes something about every step, after the backward pass."""

    def __init__(self, look: Callable[[Learner], Any]) -> None:
        self.look = look
        self.seen: list[list[Any]] = []

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        self.seen.append([])

    def after_backward(self, learner: Learner, **_: object) -> None:
        self.seen[-1].append(self.look(learner))


def added_to_the_loss(learner: Learner) -> float:
    return learner.loss.item() - torch.stack(list(learner.loss_terms.values())).sum().item()


REGULARIZERS: dict[str, Callable[[], Any]] = {
    "rwalk": lambda: stock.RWalkPlugin(ewc_lambda=100.0, delta_t=2),
    "ewc": lambda: stock.EWCPlugin(ewc_lambda=100.0),
    "online ewc": lambda: stock.EWCPlugin(ewc_lambda=100.0, mode="online", decay_factor=0.9),
    "mas": lambda: stock.MASPlugin(lambda_reg=100.0),
}


@pytest.mark.parametrize("scenario", [TIL, CIL, DIL], ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_regularizer_adds_a_penalty_from_the_second_experience_on(name: str, scenario: Scenario) -> None:
    benchmark, watch = toy_benchmark(scenario, experiences=2), Watch(added_to_the_loss)
    learner = learn(benchmark, [REGULARIZERS[name](), watch])
    first, second = watch.seen
    assert len(first) == len(second) == ITERATIONS
    assert all(abs(value) < 1e-6 for value in first)
    assert max(second) > 1e-6
    plain = weights(learn(benchmark))
    assert any(not torch.equal(value, plain[name]) for name, value in weights(learner).items())


def copy_weights(model: nn.Module, target: Any, excluded: set[str]) -> None:
    for name, parameter in stock.SynapticIntelligencePlugin.allowed_parameters(model, excluded):
        target[name].data = parameter.detach().clone().flatten()


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # NumPy's square of a tensor
def test_synaptic_intelligence_adds_a_penalty_where_weights_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU ``.cpu()`` copies; on the CPU the plugin of avalanche 0.6 compares the weights with themselves."""
    benchmark, alone = toy_benchmark(experiences=2), Watch(added_to_the_loss)
    learn(benchmark, [stock.SynapticIntelligencePlugin(si_lambda=1e4), alone])
    assert not any(alone.seen[0] + alone.seen[1])

    monkeypatch.setattr(stock.SynapticIntelligencePlugin, "extract_weights", staticmethod(copy_weights))
    watch = Watch(added_to_the_loss)
    learner = learn(benchmark, [stock.SynapticIntelligencePlugin(si_lambda=1e4), watch])
    assert not any(watch.seen[0])
    assert max(watch.seen[1]) > 1e-4
    plain = weights(learn(benchmark))
    assert any(not torch.equal(value, plain[name]) for name, value in weights(learner).items())


def tasks_in_batch(learner: Learner) -> set[int]:
    return set(learner.batch.task_ids.tolist())


@pytest.mark.parametrize("scenario", [TIL, CIL, DIL, MDTIL], ids=lambda scenario: scenario.name)
def test_the_buffer_of_replay_enters_the_batches_of_later_experiences(scenario: Scenario) -> None:
    watch = Watch(tasks_in_batch)
    learn(toy_benchmark(scenario), [stock.ReplayPlugin(mem_size=12), watch])
    assert all(tasks == {0} for tasks in watch.seen[0])
    for index in (1, 2):
        assert all(index in tasks and min(tasks) < index for tasks in watch.seen[index])


def test_replay_leaves_the_number_of_steps_as_it_was_set() -> None:
    for iterations in (3, 11):  # an epoch has four
        watch = Watch(tasks_in_batch)
        learn(toy_benchmark(), [stock.ReplayPlugin(mem_size=12), watch], iterations=iterations)
        assert [len(steps) for steps in watch.seen] == [iterations] * 3


def test_gdumb_trains_on_its_balanced_buffer_from_scratch() -> None:
    benchmark, watch = toy_benchmark(CIL, experiences=2), Watch(tasks_in_batch)
    starts: list[dict[str, Tensor]] = []

    class Start:
        def before_training_epoch(self, learner: Learner, **_: object) -> None:
            starts.append(weights(learner))

    learn(benchmark, [stock.GDumbPlugin(mem_size=8), watch, Start()])
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())
    assert set().union(*watch.seen[0]) == {0}
    assert set().union(*watch.seen[1]) == {0, 1}


def test_gdumb_gives_a_linear_head_the_classes_it_has_met() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
    model = MultimodalModel(PlainBackbone(network, (3, 32, 32), 8), LinearHead(8))
    benchmark = toy_benchmark(CIL)
    learner = learn(benchmark, [stock.GDumbPlugin(mem_size=12)], model=model)
    assert learner.model.head.knows(benchmark.label_space)


@pytest.mark.parametrize("scenario", [TIL, CIL], ids=lambda scenario: scenario.name)
def test_agem_removes_what_would_hurt_the_memory_from_the_gradient(scenario: Scenario) -> None:
    agem = stock.AGEMPlugin(patterns_per_experience=8, sample_size=8)

    def alignment(learner: Learner) -> float:
        gradients = [
            torch.zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in learner.model.parameters()
        ]
        reference = agem.reference_gradients
        return 0.0 if not len(reference) else float(torch.cat(gradients) @ reference / reference.square().sum())

    before, after = Watch(alignment), Watch(alignment)
    learn(toy_benchmark(scenario), [before, agem, after])
    assert all(len(buffer) == 8 for buffer in agem.buffers)
    assert min(before.seen[1] + before.seen[2]) < -1e-3
    assert min(after.seen[1] + after.seen[2]) > -1e-4


def test_from_scratch_training_begins_every_experience_with_the_first_weights() -> None:
    starts: list[dict[str, Tensor]] = []

    class Start:
        def before_training_epoch(self, learner: Learner, **_: object) -> None:
            starts.append(weights(learner))

    learner = learn(toy_benchmark(experiences=2), [stock.FromScratchTrainingPlugin(), Start()])
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())
    assert any(not torch.equal(value, starts[1][name]) for name, value in weights(learner).items())


def scheduled(kind: Callable[[torch.optim.Optimizer], LRScheduler], **options: Any) -> stock.LRSchedulerPlugin:
    """The scheduler needs an optimiser to be made; the learner's takes its place."""
    stand_in = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    return stock.LRSchedulerPlugin(kind(stand_in), step_granularity="iteration", **options)


def rate(learner: Learner) -> float:
    return float(learner.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    "kind",
    [lambda optimizer: StepLR(optimizer, 1, 0.5), lambda optimizer: LambdaLR(optimizer, lambda step: 0.5**step)],
    ids=["step", "lambda"],
)
def test_a_scheduler_sets_the_rate_anew_in_every_experience(kind: Any) -> None:
    watch = Watch(rate)
    learn(toy_benchmark(experiences=2), [scheduled(kind), watch])
    for seen in watch.seen:
        assert seen == pytest.approx([1e-3 * 0.5**step for step in range(ITERATIONS)])


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")  # in avalanche's Mean
def test_a_scheduler_that_looks_at_the_loss_sets_the_rate() -> None:
    watch = Watch(rate)
    plateau = scheduled(lambda o: ReduceLROnPlateau(o, factor=0.1, patience=0, threshold=1e9), metric="train_loss")
    learn(toy_benchmark(experiences=1), [plateau, watch])
    assert watch.seen[0][-1] < watch.seen[0][0] == pytest.approx(1e-3)


@pytest.mark.parametrize("training", [{"schedule": "cosine"}, {"warmup": 2}], ids=str)
def test_two_masters_of_the_rate_are_refused(training: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"training.schedule.*a plugin that sets the rate too"):
        learner_for(toy_benchmark(), [scheduled(lambda optimizer: StepLR(optimizer, 1))], **training)


def test_early_stopping_stops() -> None:
    """At this rate nothing improves, so training ends after the patience of two steps."""
    benchmark = toy_benchmark(experiences=1)
    with pytest.warns(UserWarning, match="No loggers"):
        evaluation = stock.EvaluationPlugin(accuracy_metrics(stream=True))
    stopping = stock.EarlyStoppingPlugin(patience=2, val_stream_name="test_stream", peval_mode="iteration")
    learner = learner_for(benchmark, [evaluation, stopping, PeriodicEval(1, "iteration")], lr=1e-12, iterations=40)
    with pytest.warns(UserWarning, match="is not computed yet"):
        learner.train(benchmark.train[0], [benchmark.test])
    assert learner.clock.train_iterations == 3


@pytest.mark.parametrize("scenario", [TIL, CIL, DIL, MDTIL], ids=lambda scenario: scenario.name)
def test_the_evaluator_finds_the_accuracies_that_mmcl_finds(scenario: Scenario) -> None:
    benchmark, text = toy_benchmark(scenario), io.StringIO()
    evaluation = stock.EvaluationPlugin(
        accuracy_metrics(minibatch=True, experience=True, stream=True),
        loss_metrics(experience=True),
        loggers=[TextLogger(text)],
    )
    learner = learn(benchmark, [evaluation], lr=1e-5)
    results = learner.eval(benchmark.test)
    own = [learner.evaluate(experience, Accuracy()) for experience in benchmark.test]
    for index, score in enumerate(own):
        key = f"eval_phase/test_stream/Exp{index:03}"
        assert 100 * results[f"Top1_Acc_Exp/{key}"] == pytest.approx(score)
        assert results[f"Loss_Exp/{key}"] > 0
    assert 100 * results["Top1_Acc_Stream/eval_phase/test_stream"] == pytest.approx(sum(own) / len(own))
    assert "Top1_Acc_MB/train_phase" in str(list(results))
    assert f"Top1_Acc_Stream/eval_phase/test_stream = {sum(own) / len(own) / 100:.4f}" in text.getvalue()


def test_the_interactive_logger_prints_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = toy_benchmark(experiences=1)
    learner = learn(benchmark, [stock.EvaluationPlugin(accuracy_metrics(epoch=True), loggers=[InteractiveLogger()])])
    assert "Top1_Acc_Epoch/train_phase/train_stream" in capsys.readouterr().out
    assert learner.evaluator.get_last_metrics()


def test_a_logger_needs_no_metric(capsys: pytest.CaptureFixture[str]) -> None:
    learn(toy_benchmark(experiences=1), [stock.EvaluationPlugin(loggers=[InteractiveLogger()])])
    assert "Start of training phase" in capsys.readouterr().out


def test_a_subclass_in_a_module_of_its_own_is_a_plugin_of_avalanche_too() -> None:
    class Mine(stock.ReplayPlugin):
        pass

    assert not Mine.__module__.startswith("avalanche.")
    watch = Watch(tasks_in_batch)
    learn(toy_benchmark(experiences=2), [Mine(mem_size=8), watch])
    assert all(tasks == {0, 1} for tasks in watch.seen[1])


def test_without_such_plugins_nothing_is_prepared_for_them() -> None:
    learner, seen = learner_for(toy_benchmark(), [Watch(rate)]), []

    class Look(StrategyPlugin):
        def before_training_exp(self, learner: Learner, **_: object) -> None:
            seen.append(learner.adapted_dataset)

    learner = learn(toy_benchmark(), [Watch(rate)], strategies={"look": Look()})
    assert seen == [None] * 3
    assert not learner.model._forward_pre_hooks


def test_logging_decodes_no_sample_for_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("a sample was read outside the batches")

    monkeypatch.setattr(TensorSamples, "__getitem__", decode)
    learn(toy_benchmark(), [stock.EvaluationPlugin(accuracy_metrics(epoch=True), loggers=[TextLogger(io.StringIO())])])


def test_strategies_and_plugins_compose() -> None:
    watch = Watch(lambda learner: (tasks_in_batch(learner), dict(learner.gradient_values)))
    learn(
        toy_benchmark(),
        [stock.ReplayPlugin(mem_size=12), stock.MASPlugin(), watch],
        strategies={"ewc": EWC()},
    )
    tasks, gradients = watch.seen[2][-1]
    assert tasks >= {2}
    assert "ewc/penalty" in gradients


@pytest.mark.parametrize("plugin", [stock.ReplayPlugin, stock.GDumbPlugin])
def test_two_builders_of_batches_are_refused(plugin: Any) -> None:
    with pytest.raises(CompositionError, match=r"'replay' and a plugin both build the training batches"):
        learn(toy_benchmark(), [plugin(mem_size=8)], strategies={"replay": Replay()})


IMPOSSIBLE: dict[str, tuple[Callable[[], Any], type[Exception], str | None]] = {
    "GEMPlugin": (lambda: stock.GEMPlugin(8, 0.5), AttributeError, "'Inputs' object has no attribute 'size'"),
    "GSS_greedyPlugin": (
        lambda: stock.GSS_greedyPlugin(8, 2, [3, 32, 32]),
        AttributeError,
        "'Inputs' object has no attribute 'size'",
    ),
    "MIRPlugin": (lambda: stock.MIRPlugin(2, 8, 4), TypeError, "default_collate"),
    "RARPlugin": (lambda: stock.RARPlugin(2, 8), TypeError, "default_collate"),
    "LwFPlugin": (lambda: stock.LwFPlugin(), AttributeError, "targets_task_labels"),
    "LFLPlugin": (lambda: stock.LFLPlugin(1.0), NotImplementedError, "get_features"),
    "CWRStarPlugin": (lambda: stock.CWRStarPlugin(nn.Linear(2, 2)), IndexError, "out of bounds"),
    "CoPEPlugin": (lambda: stock.CoPEPlugin(8, 6, 8), RuntimeError, "size of tensor"),
    "BiCPlugin": (lambda: stock.BiCPlugin(8), AttributeError, "has no setter"),
    "GenerativeReplayPlugin": (lambda: stock.GenerativeReplayPlugin(), AttributeError, "generate"),
    "FeatureDistillationPlugin": (lambda: stock.FeatureDistillationPlugin(), TypeError, "must be Tensor"),
    "NCMOracle": (lambda: stock.NCMOracle(), AssertionError, None),
    "MemoryNCMUpdate": (lambda: stock.MemoryNCMUpdate(8), AssertionError, None),
    "CurrentDataNCMUpdate": (lambda: stock.CurrentDataNCMUpdate(), AssertionError, None),
    "FeCAMOracle": (lambda: stock.FeCAMOracle(), AssertionError, None),
    "MemoryFeCAMUpdate": (lambda: stock.MemoryFeCAMUpdate(8), AssertionError, None),
    "CurrentDataFeCAMUpdate": (lambda: stock.CurrentDataFeCAMUpdate(), AssertionError, None),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_the_documentation_calls_impossible_says_so_with_an_error(name: str) -> None:
    make, error, message = IMPOSSIBLE[name]
    with pytest.raises(error, match=message):
        learn(toy_benchmark(CIL, experiences=3), [make()])
