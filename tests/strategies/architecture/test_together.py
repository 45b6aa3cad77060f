"""What HAT and progressive networks have in common: with others, interrupted, and where the task id is hidden."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcl_strategies.architecture.hat import HAT
from mmcl_strategies.architecture.progressive import Progressive
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay
from PIL import Image
from torch import Tensor, nn

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.build import strategy
from mmcl.data.asked import Asked
from mmcl.data.collate import concatenate
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner
from mmcl.testing.toy.models import ImageTower, TextTower

SMALL: dict[str, dict[str, Any]] = {
    "hat:mlp": {"hidden": (12, 8), "dropout": 0.3},
    "hat:conv": {"network": "conv", "hidden": (8,), "channels": (4, 6)},
    "hat:adapter": {"network": "adapter", "bottleneck": 8},
    "hat:transformer": {"network": "transformer"},
    "progressive:adapter": {"hidden": (12, 8), "dropout": 0.3},
    "progressive:linear": {"lateral": "linear", "hidden": (12, 8)},
}


def small(kind: str) -> StrategyPlugin:
    name = kind.partition(":")[0]
    built: StrategyPlugin = strategy(name, **SMALL[kind])
    return built


def learner_of(kind: str, others: dict[str, StrategyPlugin] | None = None, **training: Any) -> Learner:
    return toy_learner(toy_benchmark(), {"it": small(kind), **(others or {})}, **training)


@torch.no_grad()
def answers(learner: Learner, task: int, benchmark: Benchmark | None = None) -> Tensor:
    (batch,) = learner.one_pass((benchmark or toy_benchmark()).test[task].samples, 100)
    learner.consider(batch)
    logits = learner.model.eval().predict(batch.inputs).logits
    assert logits is not None
    return logits


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("scenario", [CIL, DIL], ids=lambda scenario: scenario.name)
def test_where_the_task_id_is_hidden_they_are_refused_with_the_reason(kind: str, scenario: Any) -> None:
    with pytest.raises(CompositionError, match=r"needs the task id at test time.*TIL or MDTIL"):
        check_composition([small(kind)], ["it"], Surroundings(scenario=scenario))


@pytest.mark.parametrize("kind", SMALL)
def test_a_checkpoint_continues_bit_for_bit(kind: str) -> None:
    benchmark = toy_benchmark()
    whole, begun = learner_of(kind), learner_of(kind)
    for experience in benchmark.train:
        whole.train(experience)
    for experience in benchmark.train[:2]:
        begun.train(experience)
    expected = [answers(begun, task) for task in range(2)]
    saved, state = model_tensors(begun.model, begun.untouched), begun.strategies["it"].state_dict()
    fresh = learner_of(kind)
    for experience in benchmark.train[:2]:
        fresh.meet(experience)
    fresh.untouched = restore_model(fresh.model, saved)
    fresh.strategies["it"].load_state_dict(state)
    for task, logits in enumerate(expected):
        assert torch.equal(answers(fresh, task), logits)
    fresh.train(benchmark.train[2])
    for (name, value), (other, same) in zip(
        whole.model.state_dict().items(), fresh.model.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, same), name


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "hat:transformer"])
def test_a_checkpoint_leaves_the_frozen_backbone_out(kind: str) -> None:
    learner = learner_of(kind)
    learner.train(toy_benchmark().train[0])
    saved = model_tensors(learner.model, learner.untouched)
    assert all(name.startswith("head.") or ".addons." in name or "attn_mask" in name for name in saved)


@pytest.mark.parametrize("kind", ["hat:mlp", "hat:adapter", "progressive:adapter"])
def test_a_run_that_is_extended_equals_the_longer_run(kind: str, tmp_path: Path) -> None:
    training = {"iterations": 3, "batch_size": 4}
    longer, shorter = (toy_benchmark(experiences=count) for count in (3, 2))
    whole = mmcl.run(benchmark=longer, strategies=[small(kind)], training=training, out=tmp_path / "whole", quiet=True)
    mmcl.run(benchmark=shorter, strategies=[small(kind)], training=training, out=tmp_path / "part", quiet=True)
    part = mmcl.extend(tmp_path / "part", benchmark=longer, quiet=True)
    assert whole.result_matrix.to_dict()["matrix"][-1] == part.result_matrix.to_dict()["matrix"][-1]
    rows = whole.results["parameters"]["per_experience"]
    assert rows == part.results["parameters"]["per_experience"]
    sizes = [row["total"] for row in rows]
    assert len(sizes) == 3
    assert sizes[0] < sizes[1] < sizes[2] == whole.results["parameters"]["total"]


@pytest.mark.parametrize("kind", ["hat:adapter", "progressive:adapter"])
def test_predictions_go_through_the_named_experience_and_no_other(kind: str, tmp_path: Path) -> None:
    mmcl.run(
        benchmark=toy_benchmark(experiences=2),
        strategies=[small(kind)],
        training={"iterations": 3, "batch_size": 4},
        out=tmp_path / "run",
        quiet=True,
    )
    file = tmp_path / "image.png"
    Image.new("RGB", (32, 32), "teal").save(file)
    first, second = (mmcl.predict(tmp_path / "run", [file], experience=name)[0] for name in ("toy0", "toy1"))
    assert {name for name, _ in first.classes} & {name for name, _ in second.classes} == set()
    with pytest.raises(ConfigError, match=r"needs the task id at test time, and no experience is named.*toy0, toy1"):
        mmcl.predict(tmp_path / "run", [file])


OTHERS: dict[str, Callable[[], StrategyPlugin]] = {
    "ewc": lambda: EWC(samples=4),
    "lwf": LwF,
    "replay": lambda: Replay(size=8),
    "zscl": lambda: ZSCL(average_every=1),
}


@pytest.mark.parametrize("others", ["ewc", "lwf", "replay", "zscl", "ewc,lwf,replay,zscl"])
@pytest.mark.parametrize("kind", SMALL)
def test_with_others_before_and_behind_it_trains_and_forgets_nothing(kind: str, others: str) -> None:
    names = ["it", *others.split(",")]
    for order in (names, names[::-1]):
        strategies = {name: small(kind) if name == "it" else OTHERS[name]() for name in order}
        learner = toy_learner(toy_benchmark(), strategies)
        learner.train(toy_benchmark().train[0])
        before = answers(learner, 0)
        learner.train(toy_benchmark().train[1])
        assert torch.equal(answers(learner, 0), before)


def composed(*strategies: StrategyPlugin) -> None:
    check_composition(strategies, [type(s).__name__.lower() for s in strategies], Surroundings(TIL))


def test_two_that_decide_the_prediction_are_refused_and_gates_inside_the_backbone_are_not() -> None:
    with pytest.raises(CompositionError, match=r"'hat' and 'progressive' both decide the prediction \(slot HEAD\)"):
        composed(HAT(), Progressive())
    composed(HAT(network="adapter"), Progressive())


def test_gates_inside_the_backbone_and_columns_behind_it_forget_nothing_together() -> None:
    learner = learner_of("hat:adapter", {"progressive": small("progressive:adapter")})
    learner.train(toy_benchmark().train[0])
    before = answers(learner, 0)
    learner.train(toy_benchmark().train[1])
    assert torch.equal(answers(learner, 0), before)


@pytest.mark.parametrize("kind", SMALL)
def test_learning_everything_at_once_is_refused(kind: str) -> None:
    joint: StrategyPlugin = strategy("joint")
    with pytest.raises(CompositionError, match=r"'joint' learns all experiences at once, and 'it' one after the other"):
        check_composition([small(kind), joint], ["it", "joint"], Surroundings(TIL))


class Normalised(Backbone):
    """A linear layer with batch norm, whose statistics follow the data in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(3 * 32 * 32, 8), nn.BatchNorm1d(8)
        self.specs = {IMAGE: ModalitySpec((3, 32, 32))}
        self.towers = {IMAGE: Tower(self, frozenset({IMAGE}), 8)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.norm(self.layer(inputs[IMAGE].flatten(1))))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        raise AssertionError("it reads no text")

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(1.0)

    def export(self, folder: Path) -> None:
        raise AssertionError("never exported")


@pytest.mark.parametrize("kind", ["hat:mlp", "hat:conv", "progressive:adapter"])
def test_what_is_frozen_keeps_its_statistics(kind: str) -> None:
    backbone = Normalised()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    learner = toy_learner(toy_benchmark(), {"it": small(kind)}, backbone=backbone)
    for experience in toy_benchmark().train[:2]:
        learner.train(experience)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("tower", [ImageTower, TextTower], ids=lambda tower: tower.__name__)
@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "hat:conv"])
def test_on_a_backbone_of_one_tower_with_statistics_it_forgets_nothing(kind: str, tower: type[Backbone]) -> None:
    modality = next(iter(tower().specs))
    benchmark = toy_benchmark(modalities=[frozenset({modality})])
    learner = toy_learner(benchmark, {"it": small(kind)}, backbone=tower(), weight_decay=0.1)
    before: dict[int, Tensor] = {}
    for task, experience in enumerate(benchmark.train):
        learner.train(experience)
        for earlier, logits in before.items():
            assert torch.equal(answers(learner, earlier, benchmark), logits)
        before[task] = answers(learner, task, benchmark)


def test_what_stands_in_for_a_missing_image_is_nothing_to_convolutions() -> None:
    learner = learner_of("hat:conv")
    learner.train(toy_benchmark().train[0])
    learner.model.eval()
    batch = next(learner.one_pass(toy_benchmark().test[0].samples, 2))
    scores = []
    for fill in (0.0, 7.0):
        values = torch.stack([batch.inputs[IMAGE][0], torch.full((3, 32, 32), fill)])
        inputs = Inputs(
            {IMAGE: values},
            {IMAGE: torch.tensor([True, False])},
            task_ids=torch.zeros(2, dtype=torch.long),
            asked=Asked(toy_benchmark().test[0].label_space),
        )
        scores.append(learner.model(inputs).logits)
    assert torch.equal(*scores)


@pytest.mark.parametrize("kind", ["hat:mlp", "progressive:adapter"])
def test_a_head_is_asked_only_for_classes_that_it_has(kind: str) -> None:
    learner = learner_of(kind)
    benchmark = toy_benchmark()
    learner.train(benchmark.train[0])
    assert learner.model.head.knows(benchmark.train[0].label_space)
    assert not learner.model.head.knows(benchmark.train[1].label_space)


def test_zero_shot_answers_of_experiences_to_come_are_those_of_the_pretrained_model() -> None:
    learner, plain = learner_of("hat:adapter"), MultimodalModel(tiny_clip()).eval()
    learner.train(toy_benchmark().train[0])
    (batch,) = learner.one_pass(toy_benchmark().test[2].samples, 100)
    inputs = batch.inputs.replace(asked=Asked(toy_benchmark().test[2].label_space))
    with torch.no_grad():
        found, expected = learner.model.eval().predict(inputs).logits, plain.predict(inputs).logits
    assert torch.equal(found, expected)  # type: ignore[arg-type]


def test_a_batch_that_mixes_experiences_is_scored_by_each_one_alone() -> None:
    for kind in SMALL:
        learner, benchmark = learner_of(kind), toy_benchmark()
        for experience in benchmark.train[:2]:
            learner.train(experience)
        learner.model.eval()
        batches = [next(iter(learner.one_pass(benchmark.test[task].samples, 2))) for task in (0, 1)]
        mixed = concatenate(*batches)
        with torch.no_grad():
            learner.consider(mixed)
            together = learner.model.predict(mixed.inputs).logits
            for task, batch in enumerate(batches):
                learner.consider(batch)
                alone = learner.model.predict(batch.inputs).logits
                torch.testing.assert_close(together[2 * task : 2 * task + 2, 2 * task : 2 * task + 2], alone)  # type: ignore[index]
