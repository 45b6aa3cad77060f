"""Progressive networks: old columns never move, run as they were trained, and what they know is passed on."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmcl_strategies.architecture.column import AdapterLateral, Column, LinearLateral
from mmcl_strategies.architecture.progressive import Progressive, ProgressiveHead, Run
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.arrival import Arrival
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

HEAVY = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1}
DECAYING = {"optimizer": "adamw", "weight_decay": 0.1}


def progressive(**options: Any) -> Progressive:
    return Progressive(**{"hidden": (12, 8), **options})


def head(learner: Learner) -> ProgressiveHead:
    assert isinstance(learner.model.head, ProgressiveHead)
    return learner.model.head


def learn(strategies: dict[str, StrategyPlugin], scenario: Scenario = TIL, **training: Any) -> Iterator[Learner]:
    """The learner after each of three experiences."""
    learner = toy_learner(toy_benchmark(scenario), strategies, **training)
    for experience in toy_benchmark(scenario).train:
        learner.train(experience)
        yield learner


@torch.no_grad()
def answers(learner: Learner, benchmark: Benchmark, task: int) -> Tensor:
    (batch,) = learner.one_pass(benchmark.test[task].samples, 100)
    learner.consider(batch)
    learner.model.eval()
    logits = learner.model.predict(batch.inputs).logits
    assert logits is not None
    return logits


def run(learner: Learner, task: int) -> Run:
    """A pass of the test samples of an experience through all columns."""
    (batch,) = learner.one_pass(toy_benchmark().test[task].samples, 100)
    output = learner.model.encode(batch.inputs)
    return Run(head(learner).columns, output.features, batch.inputs.present)


@pytest.mark.parametrize("training", [HEAVY, DECAYING], ids=["momentum", "adamw"])
@pytest.mark.parametrize("lateral", ["adapter", "linear"])
def test_earlier_columns_are_bit_identical_and_so_are_their_answers(lateral: str, training: dict[str, Any]) -> None:
    benchmark = toy_benchmark()
    before: dict[int, Tensor] = {}
    columns: dict[str, Tensor] = {}
    for count, learner in enumerate(learn({"p": progressive(lateral=lateral)}, **training), start=1):
        now = weights(learner)
        assert all(torch.equal(now[name], value) for name, value in columns.items())
        for task, expected in before.items():
            assert torch.equal(answers(learner, benchmark, task), expected)
        columns = {name: value for name, value in now.items() if name.startswith("head.")}
        before = {task: answers(learner, benchmark, task) for task in range(count)}
    start = toy_learner(toy_benchmark(), {"p": progressive(lateral=lateral)})
    start.meet(benchmark.train[0])
    assert all(
        not torch.equal(columns[name], value) for name, value in start.model.head.named_parameters(prefix="head")
    )


@pytest.mark.parametrize("lateral", ["adapter", "linear"])
def test_every_lateral_parameter_of_a_later_column_gets_a_gradient(lateral: str) -> None:
    seen: dict[str, float] = {}

    class Watch(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            if len(learner.seen) == 2 and not seen:
                for name, parameter in head(learner).columns[1].laterals.named_parameters():  # type: ignore[union-attr]
                    assert parameter.grad is not None, name
                    seen[name] = float(parameter.grad.abs().max())

    list(learn({"p": progressive(lateral=lateral), "watch": Watch()}))
    assert len(seen) == (10 if lateral == "adapter" else 4)  # two layers: alpha, V, U with biases; or U with its bias
    assert all(seen.values())


def test_the_output_layer_has_a_lateral_and_the_first_layer_has_none() -> None:
    *_, learner = learn({"p": progressive()}, iterations=1)
    first, second, third = head(learner).columns
    assert len(first.laterals) == 0  # type: ignore[arg-type]
    for column in (second, third):
        assert len(column.laterals) == len(column.layers) == 2  # type: ignore[arg-type]
    assert third.laterals[-1].U.out_features == 2  # type: ignore[union-attr, index]


def test_there_is_one_scalar_for_each_earlier_column_small_at_first() -> None:
    learner = toy_learner(toy_benchmark(), {"p": progressive(alpha=0.02)})
    for experience in toy_benchmark().train:
        learner.meet(experience)
    for number, column in enumerate(head(learner).columns):
        for lateral in column.laterals:  # type: ignore[union-attr]
            assert lateral.alpha.shape == (number,)
            assert bool(((lateral.alpha >= 0) & (lateral.alpha < 0.02)).all())
            assert bool(lateral.alpha.any())


def test_what_a_column_reads_of_an_earlier_one_is_what_that_computes_for_its_own_experience() -> None:
    """Column 2 is replayed with its own laterals, from the same activations as when it answers for itself."""
    *_, learner = learn({"p": progressive(alpha=1.0)}, iterations=10)
    columns = head(learner).columns
    whole = run(learner, 1)
    whole.scores(2)
    alone = run(learner, 1)
    own = alone.scores(1)
    for number in (0, 1):
        for seen, computed in zip(whole.activations[number], alone.activations[number], strict=True):
            assert torch.equal(seen, computed)
    assert torch.equal(whole.scores(1), own)
    assert torch.equal(own, answers(learner, toy_benchmark(), 1))
    without = nn.ModuleList(columns)
    laterals, columns[1].laterals = columns[1].laterals, nn.ModuleList()  # type: ignore[union-attr, assignment]
    assert not torch.allclose(Run(without, alone.features, alone.present).scores(1), own)
    columns[1].laterals = laterals  # type: ignore[union-attr, assignment]


def test_columns_are_read_in_the_order_in_which_they_came() -> None:
    torch.manual_seed(0)
    lateral = AdapterLateral([3, 2], 4, 5, alpha=1.0)
    first, second = torch.randn(6, 3), torch.randn(6, 2)
    expected = lateral.U(torch.relu(lateral.V(torch.cat([lateral.alpha[0] * first, lateral.alpha[1] * second], 1))))
    assert torch.equal(lateral([first, second]), expected)


def test_linear_laterals_are_a_sum() -> None:
    torch.manual_seed(0)
    lateral = LinearLateral([3, 2], 5)
    first, second = torch.randn(6, 3), torch.randn(6, 2)
    torch.testing.assert_close(lateral([first, second]), lateral.U[0](first) + lateral.U[1](second))


def test_earlier_columns_are_in_evaluation_mode_while_the_newest_trains() -> None:
    modes = []

    class Watch(StrategyPlugin):
        def after_forward(self, learner: Learner, **_: object) -> None:
            modes.append([column.training for column in head(learner).columns])
            modes.append([module.training for column in head(learner).columns[:-1] for module in column.modules()])

    list(learn({"p": progressive(dropout=0.5), "watch": Watch()}, iterations=1))
    assert modes[0::2] == [[True], [False, True], [False, False, True]]
    assert not any(training for column in modes[1::2] for training in column)


def test_the_optimiser_holds_the_newest_column_alone() -> None:
    for count, learner in enumerate(learn({"p": progressive()}, iterations=1), start=1):
        held = {id(parameter) for group in learner.optimizer.param_groups for parameter in group["params"]}
        assert held == {id(parameter) for parameter in head(learner).columns[-1].parameters()}
        for column in head(learner).columns[:-1]:
            assert all(parameter.grad is None for parameter in column.parameters())
        assert len(head(learner).columns) == count


def test_parameters_of_an_experience_are_those_of_its_column() -> None:
    """Eq. 2: ``V`` grows with the number of earlier columns, everything else stays."""
    sizes = []
    for learner in learn({"p": progressive(hidden=(5, 7), bottleneck=3)}, iterations=1):
        sizes.append(sum(parameter.numel() for parameter in head(learner).columns[-1].parameters()))
    width, classes = learner.model.backbone.width, 2
    base = (width + 1) * 5 + (5 + 1) * 7 + (7 + 1) * classes

    def laterals(k: int) -> int:
        return sum(k + (k * before + 1) * 3 + (3 + 1) * after for before, after in ((5, 7), (7, classes)))

    assert sizes == [base, base + laterals(1), base + laterals(2)]


def test_adapters_are_as_wide_as_the_layer_they_read() -> None:
    learner = toy_learner(toy_benchmark(), {"p": progressive(hidden=(5, 7))})
    for experience in toy_benchmark().train[:2]:
        learner.meet(experience)
    assert [lateral.V.out_features for lateral in head(learner).columns[1].laterals] == [5, 7]  # type: ignore[union-attr]


def column(modalities: tuple[str, ...], laterals: list[nn.Module] | None = None) -> Column:
    return Column(dict.fromkeys(modalities, 3), (4, 4), 2, laterals)


def test_a_column_has_one_projection_for_each_modality_of_its_experience() -> None:
    *_, learner = learn({"p": progressive()}, MDTIL, iterations=1)
    found = [set(column.projections) for column in head(learner).columns]  # type: ignore[arg-type]
    assert found == [{IMAGE}, {TEXT}, {IMAGE, TEXT}]


def test_projections_of_the_modalities_that_are_there_are_summed() -> None:
    torch.manual_seed(0)
    both = column((IMAGE, TEXT))
    features = {IMAGE: torch.randn(3, 3), TEXT: torch.randn(3, 3)}
    present = {IMAGE: torch.tensor([True, True, False]), TEXT: torch.tensor([True, False, False])}
    (first, _), _ = both(features, present, [])
    image, text = (both.projections[name](features[name]) for name in (IMAGE, TEXT))
    torch.testing.assert_close(first[0], torch.relu(image + text)[0])
    torch.testing.assert_close(first[1], torch.relu(image)[1])
    assert torch.equal(first[2], torch.zeros(4))


def test_a_column_contributes_nothing_to_samples_without_its_modalities() -> None:
    torch.manual_seed(1)
    texts = column((TEXT,))
    later = column((IMAGE,), [LinearLateral([4], 4), LinearLateral([4], 2)])
    columns = nn.ModuleList([texts, later])
    features = {IMAGE: torch.randn(2, 3), TEXT: torch.randn(2, 3)}
    present = {IMAGE: torch.ones(2, dtype=torch.bool), TEXT: torch.tensor([True, False])}
    both = Run(columns, features, present)
    scores = both.scores(1)
    for activation in both.activations[0]:
        assert torch.equal(activation[1], torch.zeros(4))
        assert bool(activation[0].any())
    images_alone = Run(columns, {IMAGE: features[IMAGE]}, {IMAGE: present[IMAGE]}).scores(1)
    assert torch.equal(images_alone[1], scores[1])
    assert not torch.equal(images_alone[0], scores[0])


def test_learning_makes_it_better_and_later_experiences_too() -> None:
    benchmark = toy_benchmark(TIL, per_class=16)
    learner = toy_learner(benchmark, {"p": Progressive(hidden=(64, 64))}, iterations=60)
    for experience in benchmark.train:
        learner.train(experience)
    for task in range(3):
        (batch,) = learner.one_pass(benchmark.test[task].samples, 100)
        found = answers(learner, benchmark, task).argmax(1)
        assert float((found == learner.label_space_of(task).columns(batch.targets)).float().mean()) > 0.9


def test_classes_that_come_back_get_a_column_of_their_own() -> None:
    torch.manual_seed(0)
    model, shape = progressive(), LabelSpace.of(["a", "b"])
    learner = toy_learner(toy_benchmark(), {"p": model})
    for task in (0, 1):
        learner.model.meet(Arrival(task, shape, frozenset({IMAGE})))
    batch = next(learner.one_pass(toy_benchmark().test[0].samples, 4))
    output = learner.model.encode(batch.inputs)
    columns = [
        head(learner).score(output, batch.inputs.with_task_ids(torch.full((4,), task)), shape) for task in (0, 1)
    ]
    assert torch.equal(columns[1], Run(head(learner).columns, output.features, batch.inputs.present).scores(1))
    assert not torch.equal(*columns)


@pytest.mark.parametrize(
    "options",
    [{"hidden": ()}, {"lateral": "quadratic"}, {"bottleneck": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"lr": 0.0}],
)
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"progressive.{next(iter(options))}"):
        Progressive(**options)
