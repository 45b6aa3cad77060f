"""MMCL's strategies, unchanged, as a plugin of avalanche's Naive on plain images."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.models import IncrementalClassifier, MTSimpleMLP
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SynapticIntelligencePlugin
from avalanche.training.supervised import Naive
from mmcl_strategies.baselines.finetune import Finetune
from mmcl_strategies.baselines.joint import Joint
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.maths.distillation import head_distillation
from mmcl_strategies.maths.quadratic import Separate, add_quadratic_gradient, separate_penalty
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mmcl
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.errors import CompositionError
from mmcl.learning.avalanche_plugin import AvalanchePlugin
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead, PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL

SHAPE, SIZE, OUTPUTS = (1, 4, 4), 12, 4
NEW, SAME = ((0, 1), (2, 3)), ((0, 1, 2, 3), (0, 1, 2, 3))


class Classified(TensorDataset):
    """Tensors with the attribute by which avalanche finds targets."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        super().__init__(images, targets)
        self.targets = targets.tolist()


def images_of(classes: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor(classes).repeat(SIZE // len(classes))
    patterns = torch.randn(OUTPUTS, *SHAPE, generator=torch.Generator().manual_seed(99))
    return patterns[targets] + 0.5 * torch.randn(SIZE, *SHAPE, generator=generator), targets


def plain_benchmark(classes: Sequence[Sequence[int]] = NEW) -> Any:
    """Experiences with these classes; every class has a pattern of its own."""
    data = [as_classification_dataset(Classified(*images_of(ids, seed))) for seed, ids in enumerate(classes)]
    return with_classes_timeline(benchmark_from_datasets(train=data, test=data))


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, OUTPUTS))


def naive(
    *plugins: Any, model: nn.Module | None = None, batch_size: int = 4, epochs: int = 2, lr: float = 0.1
) -> Naive:
    model = network() if model is None else model
    with pytest.warns(UserWarning, match="No loggers"):
        silent = EvaluationPlugin()
    return Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        train_mb_size=batch_size,
        train_epochs=epochs,
        plugins=list(plugins),
        evaluator=silent,
    )


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


class Probe:
    """An avalanche-style plugin that notes something at one event."""

    def __init__(self, event: str, look: Any) -> None:
        self.seen: list[Any] = []
        setattr(self, event, lambda template, **_: self.seen.append(look(template)))


def test_it_is_there_under_the_public_name() -> None:
    assert mmcl.AvalanchePlugin is AvalanchePlugin


def test_finetune_changes_nothing() -> None:
    trained = []
    for plugins in ([], [AvalanchePlugin(Finetune())]):
        torch.manual_seed(0)
        template = naive(*plugins)
        for experience in plain_benchmark().train_stream:
            template.train(experience)
        trained.append(weights(template.model))
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=0, atol=0)


def test_ewc_adds_exactly_the_gradient_of_its_formula() -> None:
    ewc, gradients = EWC(strength=7.0), []

    class Before:
        def after_backward(self, template: Any, **_: object) -> None:
            gradients.append([p.grad.clone() for p in template.model.parameters()])

    class After:
        def before_update(self, template: Any, **_: object) -> None:
            parameters = dict(template.learner_of_mmcl.model.shared_parameters())
            expected = {name: nn.Parameter(p.detach().clone()) for name, p in parameters.items()}
            for own, grad in zip(expected.values(), gradients.pop(), strict=True):
                own.grad = grad
            add_quadratic_gradient(expected, ewc.state.fisher, ewc.state.centre, 7.0)
            for name, p in parameters.items():
                torch.testing.assert_close(p.grad, expected[name].grad)
            value = template.learner_of_mmcl.gradient_values["ewc/penalty"]()
            assert value == 7.0 * separate_penalty(parameters, *Separate(**vars(ewc.state)))

    plugin, benchmark = AvalanchePlugin(ewc), plain_benchmark()
    template = naive(Before(), plugin)
    template.train(benchmark.train_stream[0])
    assert all(bool(value.any()) for value in ewc.state.fisher.values())
    template.learner_of_mmcl = plugin.learner
    template.plugins.append(After())
    gradients.clear()
    template.train(benchmark.train_stream[1])
    assert plugin.learner.gradient_values["ewc/penalty"]() > 0


def test_ewc_gives_the_weights_that_it_gives_in_a_learner() -> None:
    """One batch holds a whole experience, so that both see the same batches."""
    steps, lr = 5, 0.1
    benchmark, template = (
        plain_benchmark(SAME),
        naive(AvalanchePlugin(EWC(strength=20.0)), batch_size=SIZE, epochs=steps, lr=lr),
    )
    for experience in benchmark.train_stream:
        template.train(experience)

    space = LabelSpace(tuple(ClassLabel(i, str(i)) for i in range(OUTPUTS)))
    data = []
    for index, ids in enumerate(SAME):
        images, targets = images_of(ids, index)
        samples = TensorSamples({IMAGE: images}, targets, index)
        data.append(ExperienceData(f"e{index}", samples, samples, space))
    stream = Benchmark(name="plain", edition="test", scenario=DIL, experiences=data)
    learner = Learner(
        model=MultimodalModel(PlainBackbone(network(), SHAPE, OUTPUTS), ColumnHead()),
        scenario=DIL,
        strategies={"ewc": EWC(strength=20.0)},
        training={
            "iterations": steps,
            "batch_size": SIZE,
            "lr": lr,
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": "constant",
        },
    )
    for experience in stream.train:
        learner.train(experience)

    inside, alone = weights(template.model), weights(learner.model.backbone.network)
    for name, value in alone.items():
        torch.testing.assert_close(inside[name], value, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(value, weights(network())[name]) for name, value in inside.items())


def test_replay_mixes_remembered_samples_into_every_batch_of_later_experiences() -> None:
    replay = Replay(size=8, batch_size=3)
    probe = Probe("before_forward", lambda template: (template.mb_y.tolist(), len(template.mb_x)))
    template = naive(AvalanchePlugin(replay), probe, epochs=3)
    for experience in plain_benchmark().train_stream:
        template.train(experience)
    per_experience = 3 * SIZE // 4
    assert len(probe.seen) == 2 * per_experience
    assert all(set(targets) <= {0, 1} for targets, _ in probe.seen[:per_experience][:1])
    for targets, rows in probe.seen[per_experience:]:
        assert rows == 4 + 3
        assert {2, 3} >= set(targets[:4])
    first = [target for targets, _ in probe.seen[per_experience:] for target in targets[4:]]
    assert {0, 1} <= set(first)
    assert replay.state.offered == 2 * SIZE


def test_lwf_distils_the_model_that_the_last_experience_handed_over() -> None:
    benchmark, plugin = plain_benchmark(), AvalanchePlugin(LwF(strength=0.5, temperature=2.0))
    template = naive(plugin)
    template.train(benchmark.train_stream[0])
    handed_over = deepcopy(template.model).eval()

    def differences(template: Any) -> float:
        student, teacher = template.mb_output[:, :2], handed_over(template.mb_x)[:, :2].detach()
        expected = 0.5 * head_distillation(student, teacher, [torch.tensor([0, 1])], 2.0)
        torch.testing.assert_close(plugin.learner.loss_terms["lwf/logits"], expected)
        total = plugin.learner.loss_terms["task"] + expected
        torch.testing.assert_close(template.loss, total)
        return expected.item()

    probe = Probe("after_backward", differences)
    template.plugins.append(probe)
    template.train(benchmark.train_stream[1])
    assert len(probe.seen) == 2 * SIZE // 4
    assert all(value > 0 for value in probe.seen)


def test_strategies_compose() -> None:
    plugin = AvalanchePlugin(EWC(), Replay(size=6), LwF())
    template = naive(plugin)
    for experience in plain_benchmark().train_stream:
        template.train(experience)
    assert set(plugin.learner.loss_terms) == {"task", "lwf/logits"}
    assert set(plugin.learner.gradient_values) == {"ewc/penalty"}
    assert len(plugin.strategies["replay"].state.records) == 6


def test_who_rewrites_the_weights_ends_the_experience_first() -> None:
    order: list[str] = []

    class Rewriter(StrategyPlugin):
        rewrites_weights = True

        def after_training_exp(self, learner: Learner, **_: object) -> None:
            order.append("rewriter")

    class Anchor(StrategyPlugin):
        def after_training_exp(self, learner: Learner, **_: object) -> None:
            order.append("anchor")

    naive(AvalanchePlugin(Anchor(), Rewriter())).train(plain_benchmark().train_stream[0])
    assert order == ["rewriter", "anchor"]


def test_joint_learns_the_whole_stream_at_once() -> None:
    probe = Probe("before_forward", lambda template: template.mb_y.tolist())
    template, benchmark = naive(AvalanchePlugin(Joint()), probe), plain_benchmark()
    template.train(benchmark.train_stream[0])
    assert {target for targets in probe.seen for target in targets} == {0, 1, 2, 3}
    after = weights(template.model)
    template.train(benchmark.train_stream[1])
    assert all(torch.equal(value, after[name]) for name, value in weights(template.model).items())


def test_a_classifier_that_grows_is_protected_in_its_old_part() -> None:
    model = nn.Sequential(nn.Flatten(), IncrementalClassifier(16, initial_out_features=2, masking=False))
    ewc, benchmark = EWC(), plain_benchmark()
    template = naive(AvalanchePlugin(ewc), model=model)
    template.train(benchmark.train_stream[0])
    name = next(name for name in ewc.state.fisher if name.endswith("weight"))
    assert ewc.state.fisher[name].shape == (2, 16)
    template.train(benchmark.train_stream[1])
    assert ewc.state.fisher[name].shape == (4, 16)


def test_zscl_is_refused_because_there_is_no_reference_data() -> None:
    with pytest.raises(CompositionError, match=r"'zscl'.*needs reference.*there is none.*Allowed") as caught:
        AvalanchePlugin(ZSCL())
    assert all((caught.value.who, caught.value.found, caught.value.allowed, caught.value.remedy))


def test_two_strategies_for_one_slot_are_refused() -> None:
    with pytest.raises(CompositionError, match=r"'replay' and 'joint' both build the training batches"):
        AvalanchePlugin(Replay(), Joint())


def test_the_same_strategy_twice_is_refused() -> None:
    with pytest.raises(CompositionError, match="it is there 2 times"):
        AvalanchePlugin(EWC(), EWC())


def test_what_would_need_another_forward_pass_or_evaluation_is_refused() -> None:
    class Decides(StrategyPlugin):
        slots = frozenset({Slot.HEAD})

    class Watches(StrategyPlugin):
        def after_eval_exp(self, learner: Learner, **_: object) -> None:
            raise AssertionError

    with pytest.raises(CompositionError, match="decide the prediction"):
        AvalanchePlugin(Decides())
    with pytest.raises(CompositionError, match="evaluation is the template's"):
        AvalanchePlugin(Watches())


def test_two_plugins_are_refused() -> None:
    with pytest.raises(CompositionError, match="2 AvalanchePlugins"):
        naive(AvalanchePlugin(EWC()), AvalanchePlugin(LwF())).train(plain_benchmark().train_stream[0])


def test_replay_of_both_libraries_at_once_is_refused() -> None:
    template, benchmark = naive(AvalanchePlugin(Replay()), ReplayPlugin(8)), plain_benchmark()
    template.train(benchmark.train_stream[0])
    with pytest.raises(CompositionError, match="both build the training batches"):
        template.train(benchmark.train_stream[1])


def test_plugins_of_avalanche_may_stand_beside_it() -> None:
    plugin, probe = AvalanchePlugin(EWC(strength=1.0)), Probe("before_forward", lambda t: set(t.mb_y.tolist()))
    template = naive(plugin, ReplayPlugin(mem_size=8), probe)
    for experience in plain_benchmark().train_stream:
        template.train(experience)
    assert probe.seen[-1] & {0, 1}
    assert plugin.learner.gradient_values["ewc/penalty"]() > 0


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # NumPy's square of a tensor
def test_synaptic_intelligence_has_no_penalty_on_the_cpu_in_avalanche_itself() -> None:
    """What ``docs/avalanche.md`` says of avalanche 0.6, without anything of MMCL."""
    losses: list[float] = []
    look = lambda template: losses.append(template.loss.item())  # noqa: E731
    intelligence = SynapticIntelligencePlugin(si_lambda=1e4)
    template = naive(Probe("before_backward", look), intelligence, Probe("after_backward", look))
    for experience in plain_benchmark().train_stream:
        template.train(experience)
    assert losses[::2] == losses[1::2]


def test_a_model_that_wants_task_labels_is_refused() -> None:
    with pytest.raises(CompositionError, match="the model wants task labels"):
        naive(AvalanchePlugin(EWC()), model=MTSimpleMLP(input_size=16)).train(plain_benchmark().train_stream[0])


def test_a_data_set_of_other_things_than_tensors_is_refused() -> None:
    class Pictures(Classified):
        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.new("L", (4, 4)), self.targets[index]

    data = [as_classification_dataset(Pictures(*images_of((0, 1), 0)))]
    stream = with_classes_timeline(benchmark_from_datasets(train=data)).train_stream
    with pytest.raises(CompositionError, match="gives Image instead of tensors"):
        naive(AvalanchePlugin(EWC())).train(stream[0])


def test_a_model_without_a_matrix_of_scores_is_refused() -> None:
    with pytest.raises(CompositionError, match="does not return a matrix of scores"):
        naive(AvalanchePlugin(EWC()), model=nn.Linear(4, 4)).train(plain_benchmark().train_stream[0])
