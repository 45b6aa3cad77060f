"""Experience: one step of a stream, and streams of these, on avalanche's classes of the same roles."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from avalanche.benchmarks import DatasetExperience, EagerCLStream
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch, Sample, SampleDataset
from mmcl.streams.overview import overview
from mmcl.streams.rows import RowCollator, Rows, Targets


class Experience(DatasetExperience[AvalancheDataset[Any]]):
    """The train or the test side of an ``ExperienceData``.

    Never give this class an attribute ``task_labels``: avalanche would silently switch to its task-aware loader and
    forward pass. Task ids travel with the samples.
    """

    def __init__(self, data: ExperienceData, samples: SampleDataset, index: int) -> None:
        super().__init__(dataset=AvalancheDataset([]), current_experience=index)
        self.data = data
        self.samples = samples
        self.index = index
        self._targets = Targets(samples)
        self._modalities_of: tuple[Any, frozenset[str] | None] = None, None
        self._wrapped: AvalancheDataset[Any] | None = None

    @property
    def name(self) -> str:
        """Name of the experience, the same for its train and test side."""
        return self.data.name

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return "\n".join(overview([self.data]))

    @property
    def label_space(self) -> LabelSpace:
        """The classes of this experience."""
        return self.data.label_space

    @property
    def modalities(self) -> frozenset[str]:
        """Modalities that samples of this experience may have."""
        return self.data.modalities

    @property
    def modalities_of_stream(self) -> frozenset[str]:
        """Modalities that occur anywhere in the stream it belongs to."""
        stream, known = self._modalities_of
        if known is None or stream is not self._origin_stream:
            every = [self] if self._origin_stream is None else self._origin_stream
            known = frozenset[str]().union(*(experience.modalities for experience in every))
            self._modalities_of = self._origin_stream, known
        return known

    @property
    def domain(self) -> str:
        """The domain, for domain-incremental streams."""
        return self.data.domain

    @property
    def training(self) -> Mapping[str, Any]:
        """Training settings that differ for this experience."""
        return self.data.training

    @property
    def classes_in_this_experience(self) -> list[int]:
        """Global class ids, under the name that avalanche's plugins read."""
        return list(self.label_space.ids)

    @property
    def dataset(self) -> AvalancheDataset[Any]:
        """The samples as an avalanche data set, for avalanche's own plugins; MMCL reads ``samples``."""
        if self._wrapped is None:
            self._wrapped = self._wrap(self.samples)
        return self._wrapped

    def offer(self, samples: SampleDataset, collate: Callable[[Sequence[Sample]], Batch]) -> None:
        """Let avalanche's plugins find these prepared samples in ``dataset``, stacked by ``collate``."""
        self._wrapped = self._wrap(samples, RowCollator(collate))

    def _wrap(self, samples: SampleDataset, collate: RowCollator | None = None) -> AvalancheDataset[Any]:
        attributes = [DataAttribute(self._targets, name="targets")]
        return AvalancheDataset([Rows(samples)], data_attributes=attributes, collate_fn=collate)


def stream_of(name: str, sides: Iterable[tuple[ExperienceData, SampleDataset]]) -> Sequence[Experience]:
    """A stream of avalanche: experiences, each with the samples of one of its sides."""
    stream: Sequence[Experience] = EagerCLStream(
        name, [Experience(data, samples, index) for index, (data, samples) in enumerate(sides)]
    )
    return stream
