"""Rows: samples in the form that avalanche's data sets can carry, and back.

avalanche may append a task label to whatever a data set returns, so a sample travels as the first element of a row.
In data sets made for avalanche a row is an image, a class id and whatever follows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mmcl.data.modality import IMAGE
from mmcl.data.sample import Batch, Sample, SampleDataset


class RowDataset(Protocol):
    """Something that returns rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sequence[Any]: ...


class Rows:
    """Each sample as a row of one element."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Sample]:
        return (self.samples[index],)


class RowSamples:
    """The samples in rows, whatever was appended to them."""

    def __init__(self, rows: RowDataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.rows[index][0]
        return sample


class RowCollator:
    """Stacks the samples in rows; picklable for worker processes."""

    def __init__(self, collate: Callable[[Sequence[Sample]], Batch]) -> None:
        self.collate = collate

    def __call__(self, rows: Sequence[Sequence[Any]]) -> Batch:
        """Stack the samples of some rows."""
        return self.collate([row[0] for row in rows])


class Targets:
    """Class ids of samples, each read when it is asked for: reading a sample may mean decoding an image."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples
        self._known: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> int:
        if index not in self._known:
            self._known[index] = int(self.samples[index].target)
        return self._known[index]


class LabelledRows:
    """Rows of an image tensor and a class id as samples of one experience."""

    def __init__(self, rows: RowDataset, task_id: int) -> None:
        self.rows, self.task_id = rows, task_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        image, target = self.rows[index][:2]
        return Sample({IMAGE: image}, int(target), f"{self.task_id}/{index}", self.task_id, finished=True)
