"""Streams of noisy images and sentences, with the real classes in miniature, that are made in no time."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.objectives.contrastive import Contrastive
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL, TIL, Scenario

NAMES = ("alpha", "beta", "gamma", "delta", "arrow", "bar", "circle", "dot", "square", "star", "line", "cross")
MODALITIES = (frozenset({IMAGE}), frozenset({TEXT}), frozenset({IMAGE, TEXT}))


def toy_samples(
    classes: list[int], per_class: int, task_id: int, seed: int, modalities: frozenset[str] = frozenset({IMAGE})
) -> TensorSamples:
    """Noisy images and sentences, each class around a pattern and a word of its own that depend on the class alone.

    Of samples with both, every third lacks its text and every third its image.
    """
    generator = torch.Generator().manual_seed(seed)
    values: dict[str, Tensor] = {}
    if IMAGE in modalities:
        values[IMAGE] = torch.cat([_images(label, per_class, generator) for label in classes])
    if TEXT in modalities:
        noise = torch.randint(len(NAMES), (len(classes) * per_class,), generator=generator).tolist()
        words = [NAMES[label % len(NAMES)] for label in classes for _ in range(per_class)]
        values[TEXT] = _tokenize()([f"{a} {NAMES[b]}" for a, b in zip(words, noise, strict=True)])
    targets = torch.tensor(classes).repeat_interleave(per_class)
    third = torch.arange(len(targets)) % 3
    present = {IMAGE: third != 1, TEXT: third != 2} if len(modalities) > 1 else {}
    for name, rows in present.items():
        values[name][~rows] = 0
    return TensorSamples(values, targets, task_id, present)


def toy_benchmark(
    scenario: Scenario = TIL,
    experiences: int = 3,
    classes: int = 2,
    per_class: int = 8,
    seed: int = 0,
    modalities: Sequence[frozenset[str]] | None = None,
) -> Benchmark:
    """A stream with ``classes`` classes per experience; in scenarios with a shared label space always the same ones.

    The experiences take turns with ``modalities``. By default they have images, and where modalities may change,
    images, texts, then both with some missing.
    """
    shared = scenario.label_space_at_test == "shared"
    turns = modalities or (MODALITIES if scenario.modalities_change else MODALITIES[:1])
    data = []
    for index in range(experiences):
        first = 0 if shared else index * classes
        ids = list(range(first, first + classes))
        space = LabelSpace.of([_name(i) for i in ids], first_id=first, templates=["{}", "a {}"])
        kinds = turns[index % len(turns)]
        train, test = (toy_samples(ids, per_class, index, seed * 1000 + 2 * index + side, kinds) for side in (0, 1))
        data.append(ExperienceData(f"toy{index}", train, test, space, kinds, domain=f"domain{index}"))
    return Benchmark(
        name="toy",
        edition="toy",
        scenario=scenario,
        experiences=data,
        training={"iterations": 4, "batch_size": 4, "lr": 1e-3, "warmup": 1},
        reference=_reference(seed),
    )


def toy_pairs(scenario: Scenario = DIL, experiences: int = 2, pairs: int = 12, seed: int = 0) -> Benchmark:
    """A stream of pairs without classes: each image is a pattern of its own, and so is its sentence.

    Training and test pairs show the same patterns; the noise in the images differs.
    """
    data = []
    for index in range(experiences):
        labels = list(range(index * pairs, (index + 1) * pairs))
        captions = [f"{NAMES[label % len(NAMES)]} {NAMES[label // len(NAMES) % len(NAMES)]}" for label in labels]
        words = _tokenize()(captions)
        train, test = (
            TensorSamples(
                {**toy_samples(labels, 1, index, seed * 1000 + 2 * index + side).values, TEXT: words},
                torch.arange(pairs),
                index,
            )
            for side in (0, 1)
        )
        data.append(ExperienceData(f"pairs{index}", train, test, LabelSpace(), MODALITIES[2], domain=f"domain{index}"))
    return Benchmark(
        name="toy_pairs",
        edition="toy",
        scenario=scenario,
        experiences=data,
        objective=Contrastive(),
        training={"iterations": 4, "batch_size": 4, "lr": 1e-3, "warmup": 1},
        reference=_reference(seed),
    )


@cache
def _tokenize() -> Callable[[Sequence[str]], Tensor]:
    """The miniature's; asked for once, since every new miniature is a copy of a whole model."""
    return tiny_clip().tokenize


def _name(label: int) -> str:
    """A word of its own for every class: the common ones, then the same with a number."""
    return NAMES[label % len(NAMES)] + (f" {label // len(NAMES)}" if label >= len(NAMES) else "")


def _reference(seed: int) -> ReferenceData:
    images = toy_samples([90, 91, 92], 6, -1, seed).values
    positions = torch.arange(len(images[IMAGE]))
    return ReferenceData(TensorSamples(images, positions, -1), ["bar of dots", "circle", "left arrow", "star"])


def _images(label: int, count: int, generator: torch.Generator) -> Tensor:
    pattern = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1000 + label))
    return pattern + 0.3 * torch.randn(count, 3, 32, 32, generator=generator)
