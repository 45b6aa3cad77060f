"""What tests of strategies with prompts for a frozen backbone have in common."""

from typing import Any

import torch
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_samples

EXPERIENCES, CLASSES = 3, 2
SPACE = LabelSpace.of(["alpha", "beta", "gamma", "delta", "arrow", "bar"])


def begun(
    strategy: Any, *, experiences: int = EXPERIENCES, steps: int = 3, scenario: Scenario = CIL, **training: Any
) -> tuple[Learner, Benchmark]:
    """A learner of classes that come in turn, and its stream."""
    stream = toy_benchmark(scenario, experiences, CLASSES)
    return toy_learner(stream, {"it": strategy}, **{"schedule": "constant", "iterations": steps, **training}), stream


def learned(strategy: Any, **setting: Any) -> Learner:
    """After all experiences, in evaluation mode."""
    learner, stream = begun(strategy, **setting)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner


def images(ids: tuple[int, ...] | None = None, strength: float = 1.0, rows: int = 6) -> Inputs:
    """A picture of each class; with ids, on these ways with the query of the pre-trained model."""
    values = torch.cat([toy_samples([label], 1, 0, 7).values[IMAGE] for label in range(rows)])
    inputs = Inputs({IMAGE: values}, {IMAGE: torch.ones(rows, dtype=torch.bool)}, asked=Asked(SPACE))
    if ids is None:
        return inputs
    return inputs.replace(route=Route(torch.tensor(ids), torch.full((rows,), strength), plain_features(inputs)))


@torch.no_grad()
def plain_features(inputs: Inputs) -> Tensor:
    """Of the pre-trained model, which nobody has touched."""
    return MultimodalModel(tiny_clip()).eval().encode(inputs.replace(route=None)).features[IMAGE]


@torch.no_grad()
def features(learner: Learner, inputs: Inputs) -> Tensor:
    return learner.model.encode(inputs).features[IMAGE]


def moved(learner: Learner, before: dict[str, Tensor]) -> set[str]:
    """Names of the parameters that are not bit for bit what they were, those with new rows by their old ones."""
    now = dict(learner.model.named_parameters())
    return {
        name for name, old in before.items() if not torch.equal(now[name][: len(old)] if old.ndim else now[name], old)
    }


def assert_plain_rows_are_those_of_the_pretrained_model(learner: Learner) -> None:
    bare = plain_features(images())
    assert torch.equal(features(learner, images((PLAIN,) * 6)), bare)
    assert torch.equal(features(learner, images((0,) * 6, strength=0.0)), bare)
    assert not torch.allclose(features(learner, images((0,) * 6)), bare)


def assert_a_mixed_batch_equals_its_rows(learner: Learner, ids: tuple[int, ...] = (0, PLAIN, 2, 1, PLAIN, 2)) -> None:
    batch = images(ids)
    alone = [features(learner, batch.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(features(learner, batch), torch.cat(alone))
    assert len({tuple(row[0].tolist()) for row in alone}) == 6
