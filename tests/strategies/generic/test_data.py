"""Which samples, generated ones included, the terms are about."""

from collections import Counter
from typing import Any, cast

import pytest
import torch
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, Drawn
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import seeded
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs

from .definitions import of_class_names, unit
from .record import recorded
from .variants import Variant, kinds


class Steps(StrategyPlugin):
    """Notes which samples and experiences are in each training batch."""

    def __init__(self) -> None:
        self.ids: list[tuple[str, ...]] = []
        self.tasks: list[Tensor] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.ids.append(learner.batch.inputs.sample_ids)
        self.tasks.append(learner.batch.task_ids.clone())


def test_joint_training_shows_every_sample_of_the_stream_equally_often() -> None:
    benchmark, steps = toy_benchmark(TIL, 3), Steps()
    learner = toy_learner(benchmark, {"joint": kinds()["joint"](), "steps": steps}, iterations=4)
    learner.train(benchmark.train[0])
    shown = Counter(id_ for ids in steps.ids for id_ in ids)
    everything = {sample.sample_id for experience in benchmark.train for sample in experience.samples}  # type: ignore[attr-defined]
    assert set(shown) == everything
    assert set(shown.values()) == {1}
    assert len({tuple(tasks.tolist()) for tasks in steps.tasks} - {(0,) * 4, (1,) * 4, (2,) * 4}) > 3


@pytest.mark.parametrize("name", ["replay", "incclip"])
def test_remembered_samples_join_every_batch_of_new_ones(name: str) -> None:
    record = recorded(Variant(name))
    later = [step for step in record.steps if step.experience == 1]
    assert later
    for count, step in zip((4, 4, 2), later, strict=True):  # 10 samples in batches of 4
        tasks = step.batch.task_ids.tolist()
        assert len(tasks) == count + 4
        assert set(tasks[:count]) == {1}
        assert 0 in tasks[count:]
        assert len(set(step.batch.inputs.sample_ids[count:])) == 4


def test_an_epoch_of_icarl_is_one_pass_over_new_samples_and_exemplars() -> None:
    benchmark, steps, strategy = toy_benchmark(CIL, 2), Steps(), kinds()["icarl"](size=6)  # type: ignore[call-arg]
    training = {"iterations": None, "epochs": 1}
    learner = toy_learner(benchmark, {"icarl": strategy, "steps": steps}, **training)
    learner.train(benchmark.train[0])
    exemplars = {r["sample_id"] for r in strategy._memory().records}  # type: ignore[attr-defined]
    steps.ids.clear()
    learner.train(benchmark.train[1])
    shown = Counter(id_ for ids in steps.ids for id_ in ids)
    new = {sample.sample_id for sample in benchmark.train[1].samples}  # type: ignore[attr-defined]
    assert set(shown) == exemplars | new
    assert set(shown.values()) == {1}
    assert len(exemplars) == 6


class SecondImages(StrategyPlugin):
    """Notes what a strategy encodes in a step besides the batch."""

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        self.inputs: list[Inputs] = []
        plain = type(learner).encode

        def encode(inputs: Inputs) -> Any:
            self.inputs.append(inputs)
            return plain(learner, inputs)

        learner.encode = encode  # type: ignore[method-assign]


@pytest.mark.parametrize(("name", "options"), [("lwf", {"samples": "second", "prompts": "current"}), ("lwf_vr", {})])
def test_second_images_are_those_of_the_experience_in_an_order_of_their_own(name: str, options: dict[str, Any]) -> None:
    benchmark, steps, second = toy_benchmark(CIL, 2), Steps(), SecondImages()
    strategies = {name: kinds()[name](**options), "steps": steps, "second": second}
    learner = toy_learner(benchmark, strategies)
    for index, experience in enumerate(benchmark.train):
        steps.ids.clear()
        learner.train(experience)
        ids = [inputs.sample_ids for inputs in second.inputs]
        everything = Counter(sample.sample_id for sample in experience.samples)  # type: ignore[attr-defined]
        assert Counter(id_ for part in ids for id_ in part) == everything, index
        assert Counter(id_ for part in steps.ids for id_ in part) == everything
        assert ids != steps.ids


def test_reference_images_come_in_another_order_than_the_data_set_has_and_all_of_them() -> None:
    benchmark, second = toy_benchmark(CIL, 1), SecondImages()
    strategies = {"zscl": kinds()["zscl"](batch_size=6), "second": second}  # type: ignore[call-arg]
    learner = toy_learner(benchmark, strategies, iterations=3)
    learner.train(benchmark.train[0])
    ids = [id_ for inputs in second.inputs for id_ in inputs.sample_ids]
    assert sorted(ids) == sorted(f"-1/{n}" for n in range(18))
    assert ids != sorted(ids)


@pytest.mark.parametrize(("margin", "band"), [(0.05, 0.05), (0.3, 0.1)])
def test_an_invented_text_lies_in_the_band_below_the_true_text_of_its_own_image(margin: float, band: float) -> None:
    benchmark = toy_pairs(TIL)
    strategy: Any = kinds()["incclip"](size=8, margin=margin, band=band, steps=200, rate=0.01)  # type: ignore[call-arg]
    found: list[tuple[Tensor, Tensor]] = []

    class Peek(StrategyPlugin):
        @torch.no_grad()
        def before_training_iteration(self, learner: Learner, **_: object) -> None:
            if strategy._negatives is None or learner.step:
                return
            old = learner.teacher("previous").model
            records = strategy.state.records
            values = {n: torch.stack([r["inputs"][n] for r in records]) for n in (IMAGE, TEXT)}
            image, text = (unit(encoded(old.backbone, n, values[n]).pooled) for n in (IMAGE, TEXT))
            invented = unit(strategy._encoded(old, strategy._negatives))
            found.append(((image * invented).sum(1), (image * text).sum(1)))

    learner = toy_learner(benchmark, {"incclip": strategy, "peek": Peek()}, lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
    ((wrong, true),) = found
    assert len(wrong) == 8
    inside = (wrong <= true - margin + 0.02) & (wrong >= true - margin - band - 0.02)
    assert int(inside.sum()) >= 7


def test_every_negative_of_the_batch_pushes_and_none_is_missing() -> None:
    """The task loss with negatives is larger than CLIP's own on the same batch."""
    benchmark = toy_pairs(TIL)
    strategy: Any = kinds()["incclip"](size=8, steps=5)  # type: ignore[call-arg]
    gaps: list[float] = []

    class Peek(StrategyPlugin):
        @torch.no_grad()
        def before_backward(self, learner: Learner, **_: object) -> None:
            gaps.append(float(learner.loss_terms["task"] - learner.criterion()))

    learner = toy_learner(benchmark, {"incclip": strategy, "peek": Peek()})
    for experience in benchmark.train:
        learner.train(experience)
    assert all(abs(gap) < 1e-5 for gap in gaps[:4])
    assert all(gap > 1e-2 for gap in gaps[4:])


@pytest.mark.parametrize(("scenario", "smoothing"), [(CIL, 0.0), (TIL, 0.0), (CIL, 0.3)], ids=str)
def test_drawn_features_are_classified_among_the_classes_that_compete_for_them(
    scenario: Scenario, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[Drawn] = []
    plain = ClassDensities.draw

    def draw(self: ClassDensities, *arguments: Any) -> Drawn:
        draws.append(plain(self, *arguments))
        return draws[-1]

    monkeypatch.setattr(ClassDensities, "draw", draw)
    compared = []

    class Definition(StrategyPlugin):
        @torch.no_grad()
        def before_backward(self, learner: Learner, **_: object) -> None:
            if not draws:
                return
            k = len(learner.seen) - 1
            drawn, model = draws[-1], learner.model
            assert len(drawn.targets) == len(learner.batch.targets)
            assert {met.index for met in learner.seen[:-1]} >= set(drawn.task_ids.tolist())
            losses = []
            for row, (target, task) in enumerate(zip(drawn.targets.tolist(), drawn.task_ids.tolist(), strict=True)):
                space = learner.label_space if scenario is CIL else learner.label_space_of(task)
                keys = of_class_names(model, space)
                scores = model.backbone.logit_scale * unit(drawn.features[IMAGE][row : row + 1]) @ keys.T
                column = torch.tensor([space.ids.index(target)])
                losses.append(functional.cross_entropy(scores, column, label_smoothing=smoothing))
            expected = k / (k + 1) * torch.stack(losses).mean()
            torch.testing.assert_close(learner.loss_terms["it/replay"], expected, rtol=1e-3, atol=1e-5)
            compared.append(float(expected))

    benchmark = toy_benchmark(scenario, 3)
    strategies = {"it": kinds()["feature_replay"](), "definition": Definition()}
    learner = toy_learner(benchmark, strategies, label_smoothing=smoothing)
    for experience in benchmark.train:
        learner.train(experience)
    assert len(compared) == 8


def test_the_generator_learns_from_real_and_replayed_images_with_the_weights_of_the_solver() -> None:
    benchmark = toy_benchmark(CIL, 2)
    strategy: Any = kinds()["dgr"](latent=4, width=4, generator_steps=3, ratio=0.3)  # type: ignore[call-arg]
    learner = toy_learner(benchmark, {"dgr": strategy}, iterations=1)
    losses: list[Tensor] = []
    stepped: list[Tensor] = []

    class Peek(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            generator, backward = strategy._current, Tensor.backward
            plain = generator.loss

            def loss(images: Tensor, classes: Tensor, chance: torch.Generator) -> Tensor:
                value: Tensor = plain(images, classes, chance)
                losses.append(value.detach())
                real = torch.equal(images, learner.batch.inputs[IMAGE])
                of_real.append(real)
                assert real is torch.equal(classes, learner.batch.targets) or not real
                return value

            def noted(value: Tensor, *arguments: Any, **options: Any) -> None:
                stepped.append(value.detach())
                backward(value, *arguments, **options)

            generator.loss = loss
            Tensor.backward = noted  # type: ignore[method-assign]
            self.backward = backward

        def after_training_iteration(self, learner: Learner, **_: object) -> None:
            Tensor.backward = self.backward  # type: ignore[method-assign]

    of_real: list[bool] = []
    learner = toy_learner(benchmark, {"dgr": strategy, "peek": Peek()}, iterations=1)
    learner.train(benchmark.train[0])
    assert of_real == [True] * 3
    torch.testing.assert_close(torch.stack(stepped), torch.stack(losses))
    for noted in (losses, stepped, of_real):
        noted.clear()
    learner.train(benchmark.train[1])
    assert of_real == [True, False] * 3
    expected = [0.3 * losses[2 * n] + 0.7 * losses[2 * n + 1] for n in range(3)]
    torch.testing.assert_close(torch.stack(stepped), torch.stack(expected))


@pytest.mark.parametrize(("iterations", "every"), [(30, 3), (9, 1), (45, 4)])
def test_by_default_a_tenth_of_the_steps_lies_between_two_snapshots_of_zscl(iterations: int, every: int) -> None:
    benchmark, strategy = toy_benchmark(TIL, 1), cast(Any, kinds()["zscl"]())
    counts: list[int] = []

    class Peek(StrategyPlugin):
        def after_training_iteration(self, learner: Learner, **_: object) -> None:
            counts.append(strategy._count)

    learner = toy_learner(benchmark, {"zscl": strategy, "peek": Peek()}, iterations=iterations, batch_size=1)
    learner.train(benchmark.train[0])
    assert counts == [2 + step // every for step in range(iterations)]


def test_new_units_do_not_depend_on_who_makes_room_for_them() -> None:
    found = []
    for seed in (5, 6):
        benchmark = toy_benchmark(CIL, 2)
        learner = toy_learner(benchmark, {"icarl": kinds()["icarl"]()})
        with seeded(seed):
            learner.meet(benchmark.train[0])
        head: Any = learner.model.head
        found.append(head.linear.weight.detach().clone())
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("name", "options"),
    [("distill", {"kind": "feature"}), ("distill", {"classes": "all"}), ("modx", {})],
)
def test_the_first_experience_is_left_out_if_that_is_wanted(name: str, options: dict[str, Any]) -> None:
    for first in (True, False):
        benchmark = toy_pairs(TIL) if name == "modx" else toy_benchmark(CIL, 2)
        learner = toy_learner(benchmark, {name: kinds()[name](**options, first=first)})
        learner.train(benchmark.train[0])
        assert (set(learner.loss_terms) > {"task"}) is first
        learner.train(benchmark.train[1])
        assert set(learner.loss_terms) > {"task"}


def test_a_step_compares_so_many_stored_samples_of_each_earlier_experience() -> None:
    for wanted in (2, 3):
        benchmark, second = toy_benchmark(CIL, 3), SecondImages()
        strategy = kinds()["distill"](kind="feature", teacher="stored", samples=6, per_experience=wanted)  # type: ignore[call-arg]
        learner = toy_learner(benchmark, {"distill": strategy, "second": second})
        for experience in benchmark.train:
            learner.train(experience)
        assert [Counter(inputs.task_ids.tolist()) for inputs in second.inputs] == [{0: wanted, 1: wanted}] * 4  # type: ignore[union-attr]


@pytest.mark.parametrize("rate", [1e-3, 5e-2])
def test_the_generator_has_a_learning_rate_of_its_own(rate: float) -> None:
    rates: list[float] = []

    class Peek(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            rates.extend(group["lr"] for group in strategy._optimizer.param_groups)

    strategy: Any = kinds()["dgr"](latent=4, width=4, generator_lr=rate)  # type: ignore[call-arg]
    benchmark = toy_benchmark(CIL, 1)
    learner = toy_learner(benchmark, {"dgr": strategy, "peek": Peek()}, iterations=2)
    learner.train(benchmark.train[0])
    assert rates == [rate] * 2
