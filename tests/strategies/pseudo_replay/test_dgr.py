"""DGR's card: who draws, who labels, among which classes, and how much it counts."""

import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmcl_strategies.pseudo_replay.dgr import DGR, hard_replay_loss, hard_targets, soft_replay_loss
from mmcl_strategies.pseudo_replay.generator import ImageGenerator
from mmcl_strategies.pseudo_replay.vae import VAE
from mmcl_strategies.replay.replay import Replay
from torch import Tensor, nn
from torch.nn import functional

import mmcl
from mmcl.data.collate import TensorSamples
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, MMCLError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.heads import TextHead
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

REAL = 5.0  # every pixel of a real image of ``level_benchmark``


@dataclass
class Call:
    """What a generator has been asked."""

    what: str
    training: bool
    images: Tensor
    classes: Tensor


class Recorder(ImageGenerator):
    """Draws images of one level, which it learns; notes every call. The noise shows which samples are fresh."""

    calls: list[Call] = []

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        self.calls.append(Call("loss", self.training, images.detach().clone(), classes.clone()))
        return (images.mean() - self.level).square()

    def sample(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        images = self.level + torch.randn(len(classes), *self.shape, generator=generator)
        self.calls.append(Call("sample", self.training, images.detach().clone(), classes.clone()))
        assert not self.level.requires_grad
        return images


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    module = ModuleType("generators_of_mine")
    module.Recorder = Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "generators_of_mine", module)
    Recorder.calls.clear()
    yield "generators_of_mine:Recorder"
    Recorder.calls.clear()


def dgr(**options: Any) -> DGR:
    return DGR(**{"latent": 4, "width": 4, "generator_steps": 1, **options})


def learned(strategy: DGR, scenario: Scenario = CIL, experiences: int = 2, **training: Any) -> Learner:
    benchmark = toy_benchmark(scenario, experiences)
    learner = toy_learner(benchmark, {"dgr": strategy}, **training)
    for experience in benchmark.train:
        learner.train(experience)
    return learner


class Spy(StrategyPlugin):
    """Notes the terms of every step, and the loss that the model had on its batch alone."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        terms = {name: float(value.detach()) for name, value in learner.loss_terms.items()}
        self.steps.append(terms | {"own": float(learner.criterion().detach()), "sum": float(learner.loss.detach())})


def spied(
    strategy: DGR, scenario: Scenario = CIL, experiences: int = 3, **training: Any
) -> list[list[dict[str, float]]]:
    """The terms of every step of every experience."""
    benchmark, found = toy_benchmark(scenario, experiences), []
    spy = Spy()
    learner = toy_learner(benchmark, {"dgr": strategy, "spy": spy}, **training)
    for experience in benchmark.train:
        spy.steps = []
        learner.train(experience)
        found.append(spy.steps)
    return found


# The formulas.


def test_hard_targets_are_classes_that_the_previous_solver_knew() -> None:
    teacher = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    assert hard_targets(teacher, torch.tensor([4, 1])).tolist() == [1, 4]


def test_new_classes_compete_and_get_no_soft_target() -> None:
    student, teacher = torch.randn(5, 6), torch.randn(5, 4)
    padded = torch.cat([(teacher / 2).softmax(1), torch.zeros(5, 2)], dim=1)
    expected = -(padded * (student / 2).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(soft_replay_loss(student, teacher, torch.arange(4), 2.0), expected)
    student[:, 4:] += 3.0
    assert soft_replay_loss(student, teacher, torch.arange(4), 2.0) > expected


def test_the_loss_is_zero_and_differentiable_if_there_is_nothing_to_replay() -> None:
    for student, teacher in ((torch.zeros(0, 4), torch.zeros(0, 2)), (torch.zeros(3, 4), torch.zeros(3, 0))):
        for loss in (hard_replay_loss, soft_replay_loss):
            value = loss(student.requires_grad_(), teacher, torch.arange(teacher.shape[1]))
            assert value == 0
            value.backward()  # type: ignore[no-untyped-call]


# The ratio.


def test_the_first_experience_is_fine_tuning() -> None:
    benchmark = toy_benchmark(CIL)
    plain, other = toy_learner(benchmark), toy_learner(benchmark, {"dgr": dgr()})
    for learner in (plain, other):
        learner.train(benchmark.train[0])
    assert set(other.loss_terms) == {"task"}
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(plain).items())


@pytest.mark.parametrize(("ratio", "shares"), [(None, (1, 1 / 2, 1 / 3)), (0.25, (1, 0.25, 0.25))])
def test_the_task_loss_counts_one_experience_of_all_seen_or_a_constant_share(
    ratio: float | None, shares: tuple[float, ...]
) -> None:
    for share, steps in zip(shares, spied(dgr(ratio=ratio)), strict=True):
        for step in steps:
            assert step["task"] == pytest.approx(share * step["own"], rel=1e-5)
            assert step["sum"] == pytest.approx(step["task"] + step.get("dgr/replay", 0.0), rel=1e-5)


def test_replay_counts_what_is_left_of_the_ratio(recorder: str) -> None:
    benchmark = toy_benchmark(CIL, 5)
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder)}, iterations=1)
    for experience in benchmark.train:
        Recorder.calls.clear()
        learner.train(experience)
        if experience.index:
            before = learner.teacher(
                "previous"
            ).model  # with one step, also the student that the term was computed with
            images = next(call for call in Recorder.calls if call.what == "sample").images
            expected = (1 - 1 / (experience.index + 1)) * replay_loss(learner, before, before, images)
            torch.testing.assert_close(learner.loss_terms["dgr/replay"].detach(), expected)


@torch.no_grad()
def replay_loss(learner: Learner, student: Any, teacher: Any, images: Tensor, old: int | None = None) -> Tensor:
    """Cross-entropy of the student, among all classes, to the teacher's best old class."""
    inputs = Inputs({IMAGE: images}, {IMAGE: torch.ones(len(images), dtype=torch.bool)})
    space = learner.label_space
    logits, answers = (m.head.score(m.encode(inputs), inputs, space) for m in (student, teacher))
    count = len(space) - len(learner.seen[-1].label_space) if old is None else old
    return functional.cross_entropy(logits, answers[:, :count].argmax(1))


# Who labels.


class Moved(StrategyPlugin):
    """Moves the student far away at the start of the second experience, so that it labels otherwise."""

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        if learner.experience is not None and learner.experience.index:
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(11)
                for parameter in learner.model.backbone.parameters():
                    parameter += 0.2 * torch.randn_like(parameter)


class StudentAtStart(StrategyPlugin):
    """Keeps the model with which the first term of each experience is computed."""

    def before_forward(self, learner: Learner, **_: object) -> None:
        if learner.step == 0:
            self.model = deepcopy(learner.model)


def test_the_previous_model_labels_not_the_current_one(recorder: str) -> None:
    benchmark, start = toy_benchmark(CIL, 2, classes=4), StudentAtStart()
    strategies = {"moved": Moved(), "start": start, "dgr": dgr(generator=recorder)}
    learner = toy_learner(benchmark, strategies, iterations=1, batch_size=16)
    learner.train(benchmark.train[0])
    Recorder.calls.clear()
    learner.train(benchmark.train[1])
    images = next(call for call in Recorder.calls if call.what == "sample").images
    teacher = learner.teacher("previous").model
    found = learner.loss_terms["dgr/replay"].detach()
    torch.testing.assert_close(found, 0.5 * replay_loss(learner, start.model, teacher, images))
    assert not torch.isclose(found, 0.5 * replay_loss(learner, start.model, start.model, images), rtol=1e-3)


def test_labels_are_old_classes_though_a_text_classifier_would_score_new_ones(recorder: str) -> None:
    benchmark = toy_benchmark(CIL, 2, classes=4)
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder)}, iterations=1, batch_size=64)
    learner.train(benchmark.train[0])
    Recorder.calls.clear()
    learner.train(benchmark.train[1])
    images, teacher = next(c for c in Recorder.calls if c.what == "sample").images, learner.teacher("previous").model
    naive = replay_loss(learner, teacher, teacher, images, old=8)
    assert not torch.isclose(learner.loss_terms["dgr/replay"].detach(), 0.5 * naive, rtol=1e-3)


def test_targets_carry_no_gradient_and_the_teacher_stays() -> None:
    learner = learned(dgr(targets="soft"), iterations=6, lr=1e-2)
    assert not any(parameter.requires_grad for parameter in learner.teacher("previous").model.parameters())


def test_soft_and_hard_targets_train_differently() -> None:
    soft, hard = weights(learned(dgr(targets="soft"))), weights(learned(dgr(targets="hard")))
    assert any(not torch.equal(value, hard[name]) for name, value in soft.items())


# Which classes compete.


Asked = tuple[str, tuple[int, ...], tuple[int, ...]]


def asked(monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> list[Asked]:
    """Who scored which classes of generated samples of which experiences, in the order of the last of three."""
    found: list[Asked] = []
    score = TextHead.score

    def noting(head: TextHead, output: Output, inputs: Inputs, space: LabelSpace) -> Tensor:
        ids = () if inputs.task_ids is None else tuple(inputs.task_ids.unique().tolist())
        if 2 not in ids:  # real samples are of the last experience
            found.append(("student" if torch.is_grad_enabled() else "teacher", space.ids, ids))
        return score(head, output, inputs, space)

    benchmark = toy_benchmark(scenario, 3)
    learner = toy_learner(benchmark, {"dgr": dgr()}, iterations=4)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    monkeypatch.setattr(TextHead, "score", noting)
    learner.train(benchmark.train[2])
    return found


def test_in_cil_old_classes_are_targets_and_all_classes_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = ("teacher", (0, 1, 2, 3), ()), ("student", (0, 1, 2, 3, 4, 5), ())
    assert asked(monkeypatch, CIL) == [teacher, student] * 4


def test_in_dil_the_shared_classes_are_targets_and_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, DIL) == [("teacher", (0, 1), ()), ("student", (0, 1), ())] * 4


def test_in_til_old_experiences_take_turns_and_only_their_own_classes_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [(who, classes, ids) for classes, ids in (((0, 1), (0,)), ((2, 3), (1,))) for who in ("teacher", "student")]
    assert asked(monkeypatch, TIL) == turns * 2


# The generator.


def recorded(recorder: str, experiences: int = 2, **options: Any) -> tuple[Learner, list[Call]]:
    """A stream whose real pixels are all ``REAL``; the calls of the last experience."""
    benchmark = level_benchmark(experiences)
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder, **options)}, iterations=6)
    for experience in benchmark.train:
        Recorder.calls.clear()
        learner.train(experience)
    return learner, list(Recorder.calls)


def level_benchmark(experiences: int) -> Benchmark:
    benchmark = toy_benchmark(CIL, experiences)
    for data in benchmark.experiences:
        for side in (data.train, data.test):
            assert isinstance(side, TensorSamples)
            side.values[IMAGE].fill_(REAL)
    return benchmark


def is_real(call: Call) -> bool:
    return bool((call.images == REAL).all())


def test_the_generator_learns_from_the_real_batch_and_from_as_many_samples_of_its_predecessor(recorder: str) -> None:
    _, calls = recorded(recorder)
    losses = [call for call in calls if call.what == "loss"]
    assert [is_real(call) for call in losses] == [True, False] * 6
    assert {len(call.images) for call in losses} == {4}
    drawn = [call.images for call in calls if call.what == "sample"]
    assert all(any(torch.equal(call.images, images) for images in drawn) for call in losses if not is_real(call))


def test_every_sample_is_fresh_and_solver_and_generator_have_their_own(recorder: str) -> None:
    _, calls = recorded(recorder)
    drawn = [call.images for call in calls if call.what == "sample"]
    assert len(drawn) == 2 * 6
    assert len({float(images.sum()) for images in drawn}) == len(drawn)


def test_the_previous_generator_draws_in_evaluation_mode_and_the_new_one_learns_in_training_mode(recorder: str) -> None:
    _, calls = recorded(recorder)
    assert {(call.what, call.training) for call in calls} == {("sample", False), ("loss", True)}


def test_the_previous_generator_is_frozen_while_the_new_one_learns(recorder: str) -> None:
    strategy = dgr(generator=recorder, generator_lr=0.5)
    benchmark, seen = toy_benchmark(CIL, 2), []

    class Watch(StrategyPlugin):
        def after_training_iteration(self, learner: Learner, **_: object) -> None:
            if strategy._previous is not None:
                seen.append([float(g.state_dict()["level"]) for g in (strategy._previous, strategy._current) if g])

    learner = toy_learner(benchmark, {"dgr": strategy, "watch": Watch()})
    learner.train(benchmark.train[0])
    handed_over = float(strategy.state.generator["level"])
    learner.train(benchmark.train[1])
    assert {previous for previous, _ in seen} == {handed_over}
    assert len({current for _, current in seen}) == len(seen)


@pytest.mark.parametrize(
    ("experiences", "ratio", "share"), [(1, None, 1.0), (2, None, 0.5), (4, None, 0.25), (3, 0.9, 0.9)]
)
def test_the_ratio_weighs_the_losses_of_the_generator_too(
    recorder: str, monkeypatch: pytest.MonkeyPatch, experiences: int, ratio: float | None, share: float
) -> None:
    gradients: list[tuple[float, float]] = []  # the gradient of each step, and the level it was taken at

    def step(optimizer: torch.optim.Adam, closure: None = None) -> None:
        (parameter,) = optimizer.param_groups[0]["params"]
        gradients.append((float(parameter.grad), float(parameter.detach())))

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    _, calls = recorded(recorder, experiences, ratio=ratio)
    means = [float(call.images.mean()) for call in calls if call.what == "loss"]
    replayed = means[1::2] if experiences > 1 else [0.0] * 6
    for (gradient, level), mean in zip(gradients[-6:], replayed, strict=True):
        assert gradient == pytest.approx(2 * (share * (level - REAL) + (1 - share) * (level - mean)), rel=1e-4)


def test_the_generator_makes_as_many_updates_as_it_is_told(recorder: str) -> None:
    _, calls = recorded(recorder, generator_steps=3)
    assert sum(call.what == "loss" and is_real(call) for call in calls) == 3 * 6


def test_a_conditional_generator_is_told_old_classes_uniformly_and_those_of_the_new_batch(recorder: str) -> None:
    benchmark = toy_benchmark(CIL, 3)
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder)}, iterations=100)
    for experience in benchmark.train:
        Recorder.calls.clear()
        learner.train(experience)
    losses = [call for call in Recorder.calls if call.what == "loss"]
    told = torch.cat([call.classes for call in losses[1::2]])
    assert set(torch.cat([call.classes for call in losses[::2]]).tolist()) == {4, 5}
    assert torch.allclose(torch.bincount(told, minlength=4) / len(told), torch.tensor(0.25), atol=0.06)


def test_old_samples_still_are_drawn_after_experiences_that_lack_them() -> None:
    """A generator trained on new data alone forgets; here the first experience is drawn after the third."""
    benchmark = toy_benchmark(CIL, 3, classes=1)
    strategy = dgr(conditional=False, width=8, latent=8, variance=1.0, generator_lr=1e-2)
    learner = toy_learner(benchmark, {"dgr": strategy}, iterations=80, batch_size=8)
    for experience in benchmark.train:
        learner.train(experience)
    vae = VAE((3, 32, 32), 8, 8, 1.0)
    vae.load_state_dict(strategy.state.generator)
    with torch.no_grad():
        samples = vae.eval().sample(torch.zeros(90, dtype=torch.long), torch.Generator().manual_seed(0))
    patterns = torch.stack([data.train.values[IMAGE].mean(0) for data in benchmark.experiences])  # type: ignore[attr-defined]
    nearest = torch.cdist(samples.flatten(1), patterns.flatten(1)).argmin(1)
    assert torch.bincount(nearest, minlength=3).min() >= 9


# What is kept.


def test_a_generator_of_ones_own_takes_the_place_of_the_vae(recorder: str) -> None:
    strategy = dgr(generator=recorder)
    learned(strategy)
    assert set(strategy.state.generator) == {"level"}


def test_what_is_kept_does_not_grow() -> None:
    sizes = []
    strategy, benchmark = dgr(conditional=True), toy_benchmark(CIL, 4)
    learner = toy_learner(benchmark, {"dgr": strategy}, iterations=1)
    for experience in benchmark.train:
        learner.train(experience)
        sizes.append(sum(value.numel() for value in strategy.state.generator.values()))
    assert len(set(sizes)) == 1
    assert not strategy.grows


def test_a_step_takes_the_same_work_in_every_experience(recorder: str) -> None:
    benchmark, counts = toy_benchmark(TIL, 5), []
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder)}, iterations=3)
    for experience in benchmark.train:
        Recorder.calls.clear()
        learner.train(experience)
        counts.append((len(Recorder.calls), sum(len(call.images) for call in Recorder.calls)))
    assert len(set(counts[1:])) == 1


@pytest.mark.parametrize("options", [{}, {"conditional": True, "targets": "soft", "generator_steps": 2}])
@pytest.mark.parametrize("scenario", [CIL, TIL])
def test_a_run_that_was_interrupted_gives_the_same_weights(
    scenario: Scenario, options: dict[str, Any], tmp_path: Path
) -> None:
    benchmark = toy_benchmark(scenario, 3)
    through = toy_learner(benchmark, {"dgr": dgr(**options)})
    for experience in benchmark.train[:2]:
        through.train(experience)
    stored = tmp_path / "state.pt"
    torch.save(through.strategies["dgr"].state_dict(), stored)
    tensors = deepcopy(model_tensors(through.model, ()))
    through.train(benchmark.train[2])

    torch.manual_seed(99)
    resumed = toy_learner(benchmark, {"dgr": dgr(**options)})
    for experience in benchmark.train[:2]:
        resumed.meet(experience)
    restore_model(resumed.model, tensors)
    resumed.strategies["dgr"].load_state_dict(torch.load(stored, weights_only=True))
    resumed.train(benchmark.train[2])
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(through).items())
    ends = [learner.strategies["dgr"].state_dict()["generator"] for learner in (through, resumed)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


# What it composes with.


def test_it_trains_in_half_precision() -> None:
    learner = learned(dgr(), precision="bf16")
    assert learner.loss_terms["dgr/replay"].dtype == torch.float32
    assert bool(learner.loss.isfinite())


def test_remembered_samples_in_the_batch_are_as_real_as_new_ones(recorder: str) -> None:
    benchmark = toy_benchmark(TIL, 3)
    learner = toy_learner(benchmark, {"dgr": dgr(generator=recorder), "replay": Replay(size=50)})
    for experience in benchmark.train:
        Recorder.calls.clear()
        learner.train(experience)
    assert {len(call.images) for call in Recorder.calls} == {8}


@pytest.mark.parametrize("modalities", [{TEXT}, {IMAGE, TEXT}, {"audio", IMAGE}])
def test_a_stream_of_anything_but_images_is_refused(modalities: set[str]) -> None:
    around = Surroundings(CIL, frozenset(frozenset({m}) for m in (IMAGE, TEXT, "audio")), False, frozenset(modalities))
    with pytest.raises(CompositionError, match=r"dgr.*needs a stream of images alone"):
        check_composition([dgr()], ["dgr"], around)


def test_a_stream_whose_modalities_change_is_refused_before_it_is_learned(tmp_path: Path) -> None:
    with pytest.raises(CompositionError, match="images alone"):
        mmcl.run(benchmark=toy_benchmark(MDTIL), backbone="glyph-clip", strategies=["dgr"], out=tmp_path / "run")


@pytest.mark.parametrize(
    "options",
    [
        {"ratio": 0.0},
        {"ratio": 1.0},
        {"targets": "true"},
        {"temperature": 0.0},
        {"latent": 0},
        {"width": 6},
        {"variance": 0.0},
        {"generator_lr": 0.0},
        {"generator_steps": 0},
        {"generator": "nowhere:Nothing"},
    ],
)
def test_a_wrong_choice_is_refused_where_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(MMCLError, match=f"dgr.{next(iter(options))}"):
        DGR(**options)
