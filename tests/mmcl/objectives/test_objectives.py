"""Objectives read the same output in different ways; pairs need no classes."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import NOTHING, AnswerKind, Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError, PluginError
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.objectives.classification import Classification
from mmcl.objectives.contrastive import Contrastive
from mmcl.objectives.likelihoods import pair_log_probabilities
from mmcl.objectives.objective import Objective
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_samples


def pairs(task: int = 0, rows: int = 12) -> TensorSamples:
    samples = toy_samples(list(range(rows)), 1, task, task, frozenset({IMAGE, TEXT}))
    values = toy_samples(list(range(rows)), 1, task, task, frozenset({IMAGE})).values
    words = tiny_clip().tokenize([f"{index % 10} star {index}" for index in range(rows)])
    return TensorSamples({IMAGE: values[IMAGE], TEXT: words}, samples.targets, task)


def pair_learner(**training: object) -> tuple[Benchmark, Learner]:
    data = [ExperienceData(f"pairs{i}", pairs(i), pairs(i), LabelSpace(), frozenset({IMAGE, TEXT})) for i in range(2)]
    benchmark = Benchmark(name="pairs", edition="toy", scenario=DIL, experiences=data, objective=Contrastive())
    learner = Learner(
        model=MultimodalModel(tiny_clip()),
        scenario=DIL,
        objective=benchmark.objective,
        training={"iterations": 30, "batch_size": 12, "lr": 3e-3, "warmup": 0, **training},
    )
    return benchmark, learner


def test_pairs_are_learned_without_classes() -> None:
    benchmark, learner = pair_learner()
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    learner.meet(benchmark.train[0])
    before = learner.log_likelihood(batch).mean()
    learner.train(benchmark.train[0])
    assert learner.log_likelihood(batch).mean() > before + 0.5
    assert learner.model(batch.inputs).logits is None


def test_the_contrastive_loss_is_clips() -> None:
    _, learner = pair_learner()
    (batch,) = learner.one_pass(pairs(), 100)
    output = learner.model.encode(batch.inputs)
    image, text = (functional.normalize(output.features[name], dim=-1) for name in (IMAGE, TEXT))
    scores = learner.model.backbone.logit_scale * image @ text.T
    diagonal = torch.arange(len(scores))
    expected = (functional.cross_entropy(scores, diagonal) + functional.cross_entropy(scores.T, diagonal)) / 2
    torch.testing.assert_close(Contrastive().loss(output, batch.targets, NOTHING, 0.0), expected)


@given(rows=st.integers(1, 6), seed=st.integers(0, 1000))
def test_rows_of_pair_probabilities_belong_to_images_and_columns_to_texts(rows: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image, text = (torch.randn(rows, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    table = pair_log_probabilities(image, text, torch.tensor(7.0, dtype=torch.float64))
    swapped = pair_log_probabilities(text, image, torch.tensor(7.0, dtype=torch.float64))
    torch.testing.assert_close(table, swapped)
    order = torch.randperm(rows, generator=generator)
    permuted = pair_log_probabilities(image[order], text[order], torch.tensor(7.0, dtype=torch.float64))
    torch.testing.assert_close(permuted.diagonal(), table.diagonal()[order])


def test_a_lone_pair_is_certain() -> None:
    table = pair_log_probabilities(torch.randn(1, 4), torch.randn(1, 4), torch.tensor(10.0))
    assert table.tolist() == [[0.0]]


@pytest.mark.parametrize("objective", [Classification(), Contrastive()], ids=str)
def test_the_likelihood_is_the_entry_of_the_right_answer(objective: Objective) -> None:
    if objective.answers is AnswerKind.CLASS:
        benchmark = toy_benchmark()
        learner = toy_learner(benchmark)
    else:
        benchmark, learner = pair_learner()
    learner.meet(benchmark.train[0])
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    table, chosen = learner.log_probabilities(batch).detach(), learner.log_likelihood(batch).detach()
    columns = range(len(batch.targets)) if len(table) == table.shape[1] else learner.label_space.columns(batch.labels)
    assert chosen.tolist() == pytest.approx([float(table[n, c]) for n, c in enumerate(columns)])
    assert (table <= 0).all()


@dataclass(frozen=True)
class Weighted(Contrastive):
    """Pairs with an option of their own."""

    weight: float = 2.0

    def loss(self, output: Output, targets: Tensor, asked: Asked, smoothing: float) -> Tensor:
        return self.weight * super().loss(output, targets, asked, smoothing)


def test_an_objective_of_ones_own_is_an_object_with_options_that_a_run_records(tmp_path: Path) -> None:
    stream, _ = pair_learner()
    mine = Benchmark(
        name="mine", edition="toy", scenario=DIL, experiences=stream.experiences, objective=Weighted(weight=3.0)
    )
    result = mmcl.run(
        benchmark=mine,
        backbone="glyph-clip",
        training={"iterations": 10, "batch_size": 6},
        out=tmp_path / "run",
        quiet=True,
    )
    identity = json.loads((result.folder / "identity.json").read_text())
    assert identity["settings"]["objective"] == "weighted(weight=3.0)"
    assert (str(Classification()), str(Contrastive())) == ("classification", "contrastive")


def test_a_batch_that_nobody_considered_is_not_scored_in_silence() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark)
    learner.meet(benchmark.train[0])
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    with pytest.raises(PluginError, match=r"learner\.consider"):
        Classification().loss(learner.model(batch.inputs), batch.targets, batch.inputs.asked, 0.0)


def test_an_objective_that_is_a_name_is_refused_with_what_it_may_be() -> None:
    stream, _ = pair_learner()
    with pytest.raises(ConfigError, match="Objective"):
        Benchmark(name="m", edition="toy", scenario=DIL, experiences=stream.experiences, objective="contrastive")  # type: ignore[arg-type]
