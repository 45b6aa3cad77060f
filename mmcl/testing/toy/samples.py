"""Data sets around toy samples that show what somebody does with them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Sample, SampleDataset
from mmcl.streams.benchmark import Benchmark

Side = Callable[[SampleDataset, str, int], SampleDataset]


def rewritten(benchmark: Benchmark, side: Side) -> Benchmark:
    """The same stream with each data set replaced by what ``side(samples, "train" or "test", experience)`` returns."""
    data = [
        replace(experience, train=side(experience.train, "train", i), test=side(experience.test, "test", i))
        for i, experience in enumerate(benchmark.experiences)
    ]
    return Benchmark(
        name=benchmark.name,
        edition=benchmark.edition,
        scenario=benchmark.scenario,
        experiences=data,
        training=benchmark.training,
        reference=benchmark.reference,
        objective=benchmark.objective,
    )


@dataclass(frozen=True)
class Watched:
    """Tells ``note`` which data set is read whenever it is."""

    samples: SampleDataset
    side: str
    experience: int
    note: Callable[[str, int], None]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.note(self.side, self.experience)
        return self.samples[index]


@dataclass(frozen=True)
class Disguised:
    """Samples that claim to belong to an experience."""

    samples: SampleDataset
    experience: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        return replace(sample, task_id=self.experience, sample_id=f"{self.experience}/{index}")


@dataclass(frozen=True)
class Raw:
    """Toy images as Pillow images, which the backbone has yet to prepare and may augment."""

    samples: SampleDataset

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        pixels = (40 * sample.inputs[IMAGE] + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        target = int(sample.target)
        return Sample({IMAGE: Image.fromarray(pixels.numpy())}, target, sample.sample_id, sample.task_id)


def filled(samples: TensorSamples, image: float, token: int) -> TensorSamples:
    """The same samples with other stand-ins for what is missing."""
    values: dict[str, Tensor] = {}
    for name, value in samples.values.items():
        values[name] = value.clone()
        values[name][~samples.present[name]] = image if name == IMAGE else token
    return TensorSamples(values, samples.targets, samples.task_id, samples.present)
