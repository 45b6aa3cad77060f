"""A stream of questions about drawings: what colour, which shape, how many; the answers are classes."""

from functools import cache

import torch
from torch import Tensor

from mmcl.backbones.flava import tiny_flava
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, Scenario

ASKED = (  # a question, and its answers
    ("what colour", ("red", "green", "blue")),
    ("which shape", ("star", "circle", "square")),
    ("how many", ("one", "two", "three")),
)
SIDE = 16  # pixels of one of the four places of a drawing


def toy_questions(
    scenario: Scenario = CIL, experiences: int = 3, classes: int = 2, per_class: int = 8, seed: int = 0
) -> Benchmark:
    """A stream that asks another question in every experience, about drawings that could answer each of them.

    So images say nothing of the experience, and questions say all. After three experiences questions come again, and
    have other classes unless the scenario has the same ones in all.

    Args:
        scenario: of the stream.
        experiences: how many.
        classes: answers to a question, at most three.
        per_class: samples of an answer.
        seed: of drawings and noise.
    """
    shared, data = scenario.label_space_at_test == "shared", []
    for index in range(experiences):
        question, answers = ASKED[index % len(ASKED)]
        first = 0 if shared else index * classes
        names = [f"answer {place}" if shared else f"{answers[place]} {index}" for place in range(classes)]
        space = LabelSpace.of(names, first_id=first, templates=["{}"])
        train, test = (
            _samples(index, classes, per_class, first, question, torch.Generator().manual_seed(number))
            for number in (seed * 1000 + 2 * index, seed * 1000 + 2 * index + 1)
        )
        data.append(
            ExperienceData(f"{question} {index}", train, test, space, frozenset({IMAGE, TEXT}), domain=question)
        )
    return Benchmark(
        name="toy_questions",
        edition="toy",
        scenario=scenario,
        experiences=data,
        training={"iterations": 4, "batch_size": 4, "lr": 1e-3, "warmup": 1},
    )


def _samples(
    index: int, classes: int, per_class: int, first: int, question: str, generator: torch.Generator
) -> TensorSamples:
    answers = torch.arange(classes).repeat_interleave(per_class)
    attributes = torch.randint(classes, (len(answers), len(ASKED)), generator=generator)
    attributes[:, index % len(ASKED)] = answers
    images = torch.stack([_drawn(*row) for row in attributes.tolist()])
    images = images + 0.2 * torch.randn(images.shape, generator=generator)
    return TensorSamples({IMAGE: images, TEXT: _tokens(question).expand(len(answers), -1)}, answers + first, index)


def _drawn(colour: int, shape: int, number: int) -> Tensor:
    """``float[3, 32, 32]``: so many of a shape in a colour, in places of their own."""
    across = torch.linspace(-1, 1, SIDE).abs()
    power = 0.7 * 3.0**shape  # of a circle that is drawn in or blown up: star, circle, square
    inside = (across.unsqueeze(0) ** power + across.unsqueeze(1) ** power < 0.9).float()
    image = torch.zeros(3, 2 * SIDE, 2 * SIDE)
    for place in range(number + 1):
        top, left = SIDE * (place // 2), SIDE * (place % 2)
        image[colour, top : top + SIDE, left : left + SIDE] = 2 * inside
    return image


@cache
def _tokens(question: str) -> Tensor:
    """``int64[20]``, as the miniature of FLAVA reads them."""
    return tiny_flava().tokenize([question])[0]
