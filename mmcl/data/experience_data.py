"""ExperienceData: what a benchmark knows about one experience, free of any framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import SampleDataset


@dataclass(frozen=True)
class ExperienceData:
    """Train and test samples of one experience, the classes they show and how it wants to be trained.

    Attributes:
        name: short and unique in the benchmark; names the row and the column of the result matrix.
        train: raw training samples.
        test: raw test samples.
        label_space: the classes of this experience.
        modalities: modalities that samples of this experience may have.
        domain: the domain, for domain-incremental streams.
        training: fields of ``TrainingConfig`` that differ for this experience, such as ``{"lr": 5e-5}``.
    """

    name: str
    train: SampleDataset
    test: SampleDataset
    label_space: LabelSpace
    modalities: frozenset[str] = frozenset({IMAGE})
    domain: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
