"""Toy streams and models that train in a fraction of a second, with the real classes in miniature. For tests only."""

from typing import Any

import torch
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import TIL, Scenario

NAMES = ("alpha", "beta", "gamma", "delta", "arrow", "bar", "circle", "dot", "square", "star", "line", "cross")


def toy_samples(classes: list[int], per_class: int, task_id: int, seed: int) -> TensorSamples:
    """Noisy images, each class around a pattern of its own that depends on the class alone."""
    generator = torch.Generator().manual_seed(seed)
    images, targets = [], []
    for label in classes:
        pattern = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1000 + label))
        images.append(pattern + 0.3 * torch.randn(per_class, 3, 32, 32, generator=generator))
        targets += [label] * per_class
    return TensorSamples({IMAGE: torch.cat(images)}, torch.tensor(targets), task_id)


def toy_benchmark(
    scenario: Scenario = TIL, experiences: int = 3, classes: int = 2, per_class: int = 8, seed: int = 0
) -> Benchmark:
    """A stream with ``classes`` classes per experience; in scenarios with a shared label space always the same ones."""
    shared = scenario.label_space_at_test == "shared"
    data = []
    for index in range(experiences):
        first = 0 if shared else index * classes
        ids = list(range(first, first + classes))
        space = LabelSpace.of([NAMES[i % len(NAMES)] for i in ids], first_id=first, templates=["{}", "a {}"])
        sides = [toy_samples(ids, per_class, index, seed * 1000 + 2 * index + side) for side in (0, 1)]
        data.append(ExperienceData(f"toy{index}", sides[0], sides[1], space, domain=f"domain{index}"))
    reference = ReferenceData(toy_samples([90, 91, 92], 6, -1, seed), ["bar of dots", "circle", "left arrow", "star"])
    return Benchmark(
        name="toy",
        edition="toy",
        scenario=scenario,
        experiences=data,
        training={"iterations": 4, "batch_size": 4, "lr": 1e-3, "warmup": 1},
        reference=reference,
    )


def toy_learner(
    benchmark: Benchmark, strategies: dict[str, StrategyPlugin] | None = None, seed: int = 0, **training: Any
) -> Learner:
    """A learner with a random miniature CLIP."""
    return Learner(
        model=MultimodalModel(tiny_clip(seed)),
        scenario=benchmark.scenario,
        strategies=strategies,
        training=training,
        defaults=benchmark.training,
        reference=benchmark.reference,
        seed=seed,
    )


def weights(learner: Learner) -> dict[str, Tensor]:
    """Copies of all parameters."""
    return {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
