"""Some samples of a data set, or several data sets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from mmcl.data.sample import Sample, SampleDataset


class Subset:
    """The samples of a data set named by ``indices``, in that order."""

    def __init__(self, samples: SampleDataset, indices: Sequence[int]) -> None:
        self.samples, self.indices = samples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]


class Union:
    """The samples of several data sets, one after the other."""

    def __init__(self, parts: Sequence[SampleDataset]) -> None:
        self.parts = parts
        self.ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Sample:
        which = bisect_right(self.ends, index)
        return self.parts[which][index - (self.ends[which - 1] if which else 0)]
