"""The miniature of a backbone under examination, and values for it."""

import torch
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.models.backbone import Backbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.check import NotApplicable, Subject
from mmcl.testing.toy import NAMES


def miniature(subject: Subject) -> Backbone:
    """The miniature in evaluation mode, built for the first check that asks; the others must leave it as it is.

    Raises:
        NotApplicable: if there is none.
    """

    def build() -> Backbone | None:
        try:
            mini = subject.fresh().miniature()
        except Exception:  # noqa: BLE001  the check 'small miniature' reports it
            return None
        return mini.eval() if isinstance(mini, Backbone) else None

    found = subject.once("miniature", build)
    if found is None:
        raise NotApplicable("it has no miniature (see the check 'small miniature')")
    return found


def values(backbone: Backbone, modality: str, rows: int, seed: int = 0) -> Tensor:
    """Prepared values ``[rows, ...]`` of a modality: sentences for text, else noise as the spec says."""
    return values_of(backbone, modality, list(range(rows)), 1, seed)


def read_by(backbone: Backbone, tower: str, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Prepared values of all that a tower reads, modality -> ``[rows, ...]``."""
    return {name: values(backbone, name, rows, seed) for name in sorted(backbone.towers[tower].reads)}


def values_of(backbone: Backbone, modality: str, classes: list[int], per_class: int, seed: int) -> Tensor:
    """Values around a pattern or a word of each class."""
    spec, generator = backbone.specs[modality], torch.Generator().manual_seed(seed)
    if modality == TEXT:
        noise = torch.randint(len(NAMES), (len(classes) * per_class,), generator=generator).tolist()
        names = [NAMES[label % len(NAMES)] for label in classes for _ in range(per_class)]
        return backbone.tokenize([f"{name} {NAMES[other]}" for name, other in zip(names, noise, strict=True)])
    shape = (len(classes) * per_class, *spec.shape)
    if not spec.dtype.is_floating_point:
        return torch.randint(2, shape, generator=generator).to(spec.dtype)
    patterns = [torch.randn(spec.shape, generator=torch.Generator().manual_seed(1000 + label)) for label in classes]
    drawn = torch.stack(patterns).repeat_interleave(per_class, 0) + 0.3 * torch.randn(shape, generator=generator)
    return drawn.to(spec.dtype)


def stream_for(backbone: Backbone, experiences: int = 2, classes: int = 2, per_class: int = 6) -> Benchmark:
    """A class-incremental stream with every modality of a backbone."""
    data = []
    for index in range(experiences):
        ids = list(range(index * classes, (index + 1) * classes))
        targets = torch.tensor(ids).repeat_interleave(per_class)
        train, test = (
            TensorSamples(
                {name: values_of(backbone, name, ids, per_class, 10 * index + side) for name in backbone.specs},
                targets,
                index,
            )
            for side in (0, 1)
        )
        space = LabelSpace.of([NAMES[label] for label in ids], first_id=ids[0], templates=["{}", "a {}"])
        data.append(ExperienceData(f"toy{index}", train, test, space, frozenset(backbone.specs)))
    return Benchmark(name="toy", edition="toy", scenario=CIL, experiences=data, training={"batch_size": 4, "lr": 1e-3})
