"""Some samples of a data set, or several data sets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from mmcl.data.bulk import Bulk, batch_across, batch_of, is_finished
from mmcl.data.sample import Batch, Sample, SampleDataset


class Subset(Bulk):
    """The samples of a data set named by ``indices``, in that order."""

    def __init__(self, samples: SampleDataset, indices: Sequence[int]) -> None:
        self.samples, self.indices = samples, indices
        self.finished = is_finished(samples)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """As the data set hands them over."""
        return batch_of(self.samples, [self.indices[index] for index in indices])


class Joined(Bulk):
    """The samples of several data sets, one after the other."""

    def __init__(self, parts: Sequence[SampleDataset]) -> None:
        self.parts = parts
        self.ends = list(accumulate(len(part) for part in parts))
        self.finished = all(map(is_finished, parts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Sample:
        which, place = self._place(index)
        return self.parts[which][place]

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """As the data sets hand them over, in the order asked for."""
        return batch_across(dict(enumerate(self.parts)), [self._place(index) for index in indices])

    def _place(self, index: int) -> tuple[int, int]:
        """Which data set a sample is in, and its index there."""
        which = bisect_right(self.ends, index)
        return which, index - (self.ends[which - 1] if which else 0)
