"""Streams of image files and sentences, which have to be prepared and may be augmented."""

from collections.abc import Sequence

import torch
from PIL import Image

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Sample, SampleDataset
from mmcl.objectives.classification import Classification
from mmcl.objectives.contrastive import Contrastive
from mmcl.objectives.objective import Objective
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl.testing.toy import NAMES

from .towers import RAW

TRAINING = {"iterations": 3, "batch_size": 4, "lr": 1e-2, "schedule": "constant"}
CLASSES, PER_CLASS, PAIRS = 2, 5, 10  # of an experience


def picture(seed: int, pattern: int) -> Image.Image:
    """Noise around a pattern."""
    base = torch.rand(3, RAW, RAW, generator=torch.Generator().manual_seed(1000 + pattern))
    noise = torch.rand(3, RAW, RAW, generator=torch.Generator().manual_seed(seed))
    pixels = (255 * (0.6 * base + 0.4 * noise)).to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.numpy())


def class_stream(scenario: Scenario = CIL, experiences: int = 2) -> Benchmark:
    """Classes of images."""
    data = []
    for task in range(experiences):
        ids = range(task * CLASSES, (task + 1) * CLASSES)
        train, test = (
            [
                Sample({IMAGE: picture(100 * task + 10 * label + n + side, label)}, label, f"{side}/{label}/{n}", task)
                for label in ids
                for n in range(PER_CLASS)
            ]
            for side in (0, 5000)
        )
        space = LabelSpace.of([NAMES[label] for label in ids], first_id=ids[0], templates=["{}", "one {}"])
        data.append(ExperienceData(f"classes{task}", train, test, space, frozenset({IMAGE})))
    return _benchmark("classes", scenario, data, Classification())


def pair_stream(scenario: Scenario = TIL, experiences: int = 2) -> Benchmark:
    """Pairs of images and sentences."""
    data = []
    for task in range(experiences):
        train, test = (
            [
                Sample(
                    {IMAGE: picture(side + 100 * task + n, n), TEXT: sentence(n, task)}, n, f"{side}/{task}/{n}", task
                )
                for n in range(PAIRS)
            ]
            for side in (0, 5000)
        )
        data.append(ExperienceData(f"pairs{task}", train, test, LabelSpace(), frozenset({IMAGE, TEXT})))
    return _benchmark("pairs", scenario, data, Contrastive())


def sentence(number: int, task: int) -> str:
    """One of its own for each pair."""
    return f"{NAMES[number % len(NAMES)]} {NAMES[(number + 3 * task + 1) % len(NAMES)]}"


def reference_images(count: int = 9) -> list[Sample]:
    """Images outside the stream."""
    return [Sample({IMAGE: picture(9000 + n, 50 + n)}, n, f"reference/{n}", -1) for n in range(count)]


def _benchmark(name: str, scenario: Scenario, data: Sequence[ExperienceData], objective: Objective) -> Benchmark:
    images: SampleDataset = reference_images()
    return Benchmark(
        name=name,
        edition="toy",
        scenario=scenario,
        experiences=data,
        objective=objective,
        training=TRAINING,
        reference=ReferenceData(images, ["cross of dots", "two circles", "an arrow", "star over line"]),
    )
