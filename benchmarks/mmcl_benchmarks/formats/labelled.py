"""What a reader finds on disk, free of any stream: labelled files or arrays, how they become samples, their digest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl.data.folder import LabelledFiles
from mmcl.data.picture_files import left_out_remark, pictures_below
from mmcl.data.sample import SampleDataset
from mmcl.remarks import Remarks
from mmcl_benchmarks.formats.packed import PackedSamples


@dataclass(frozen=True)
class Side:
    """One side of a split: image files, or rows of images ``uint8[N, H, W(, 3)]``, and labels counted from 0.

    Attributes:
        labels: of every sample.
        files: of every sample, unless there are images.
        images: the samples of packed formats.
        rows: of the images; by default all.
        left_out: what lies beside the files and is no data.
    """

    labels: Sequence[int]
    files: Sequence[Path] = ()
    images: NDArray[np.uint8] | None = None
    rows: Sequence[int] | None = None
    left_out: Sequence[Path] = ()

    @classmethod
    def below(cls, folder: Path, classes: Sequence[str]) -> "Side":
        """The pictures below ``folder/CLASS``; the label of a class is its position.

        Raises:
            FileNotFoundError: if a class has none.
        """
        labels: list[int] = []
        files: list[Path] = []
        left_out: list[Path] = []
        for label, name in enumerate(classes):
            found = pictures_below(folder / name)
            if not found.files:
                raise FileNotFoundError(f"no image in {folder.name}/{name}")
            labels += [label] * len(found.files)
            files += found.files
            left_out += found.left_out
        return cls(labels, files, left_out=left_out)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, positions: Sequence[int]) -> "Side":
        """The samples at some positions, in that order."""
        labels = [self.labels[i] for i in positions]
        if self.images is None:
            return Side(labels, [self.files[i] for i in positions])
        return Side(labels, images=self.images, rows=[self._row(i) for i in positions])

    def samples(self, root: Path, name: str, id_of: Sequence[int] | Mapping[int, int], task_id: int) -> SampleDataset:
        """The side as samples.

        Args:
            root: the data root; files are named by their place below it.
            name: names packed images.
            id_of: label -> class id.
            task_id: of all samples.
        """
        targets = [id_of[label] for label in self.labels]
        if self.images is not None:
            return PackedSamples(self.images, [self._row(i) for i in range(len(self))], targets, name, task_id)
        return LabelledFiles(list(zip(self.files, targets, strict=True)), root, task_id)

    def ids(self, root: Path) -> Iterator[str]:
        """What names each sample in the digest: its path, or its row."""
        if self.images is None:
            yield from (path.relative_to(root).as_posix() for path in self.files)
        else:
            yield from (str(self._row(i)) for i in range(len(self)))

    def _row(self, position: int) -> int:
        return position if self.rows is None else self.rows[position]


@dataclass(frozen=True)
class Source:
    """A data set as it lies on disk; ``missing`` files are listed, but not there."""

    train: Side
    test: Side
    names: Sequence[str]
    missing: int = 0


def unused(who: str, sources: Iterable[Source], root: Path) -> Remarks:
    """Says what lies in the folders of data sets and has not been read."""
    remarks = Remarks()
    left_out = sorted({path for source in sources for side in (source.train, source.test) for path in side.left_out})
    for sentence in left_out_remark(who, left_out, root):
        remarks.add(sentence)
    return remarks


def digest(sides: Iterable[Side], root: Path) -> str:
    """Identifies a split: which files, in which order, with which labels."""
    lines = [f"{id_} {label}" for side in sides for id_, label in zip(side.ids(root), side.labels, strict=True)]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def check_plausible(source: Source, root: Path) -> None:
    """Refuse what no intact copy has: an empty side, or a list that leads out of the data root.

    Raises:
        ValueError: in words that fit into the sentence of ``reading``.
    """
    for kind, side in (("training", source.train), ("test", source.test)):
        if not side.labels:
            raise ValueError(f"no {kind} sample is listed")
        if side.images is not None and side.rows is None and len(side.images) != len(side.labels):
            raise ValueError(f"{len(side.images)} {kind} images, but {len(side.labels)} labels")
        if not 0 <= min(side.labels) <= max(side.labels) < len(source.names):
            raise ValueError(f"{kind} labels from {min(side.labels)} to {max(side.labels)}, {len(source.names)} names")
        for path in side.files:
            if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
                raise ValueError(f"the {kind} list leads out of the folder: {path}")
