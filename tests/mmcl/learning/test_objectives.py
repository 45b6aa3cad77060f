"""Objectives read the same output in different ways; pairs need no classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.learner import Learner
from mmcl.learning.likelihoods import pair_log_probabilities
from mmcl.learning.objectives import OBJECTIVES, Contrastive
from mmcl.models.multimodal import MultimodalModel
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
    benchmark = Benchmark(name="pairs", edition="toy", scenario=DIL, experiences=data, objective="contrastive")
    learner = Learner(
        model=MultimodalModel(tiny_clip()),
        scenario=DIL,
        objective=OBJECTIVES[benchmark.objective](),
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
    torch.testing.assert_close(Contrastive().loss(learner, output, batch.targets), expected)


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


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_likelihood_is_the_entry_of_the_right_answer(name: str) -> None:
    if name == "classification":
        benchmark = toy_benchmark()
        learner = toy_learner(benchmark)
    else:
        benchmark, learner = pair_learner()
    learner.meet(benchmark.train[0])
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    table, chosen = learner.log_probabilities(batch).detach(), learner.log_likelihood(batch).detach()
    columns = learner.objective.true_columns(learner, batch.targets)
    assert chosen.tolist() == pytest.approx([float(table[n, c]) for n, c in enumerate(columns)])
    assert (table <= 0).all()
