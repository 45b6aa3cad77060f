"""MTIL: multi-domain task-incremental learning over eleven image-classification data sets.

Source: introduced with ZSCL (Zheng et al., ICCV 2023); protocol and splits as in its release.
Scenario: TIL. The candidate class names of the tested data set are known at test time; there is no list across
data sets. The classifier is the text tower: training uses the first template, the test all of them, averaged.
Protocol: evaluate zero-shot on all eleven; learn one after the other; after each, evaluate on all eleven, past and
future. Scores: Transfer, Avg, Last.
Orders: 1 is alphabetical; 2 is StanfordCars, Food, MNIST, OxfordPet, Flowers, SUN397, Aircraft, Caltech101, DTD,
EuroSAT, CIFAR100.
Splits (convention ``zscl``): official where there is one, without validation images (Pets: trainval); Caltech101,
EuroSAT and SUN397 80/20 with seed 42. Deviation: SUN397 is sorted before the split, because torchvision's order is that
of the file system.
Training defaults: 1,001 steps of 64, AdamW without weight decay, rate 1e-5 (Aircraft and MNIST 5e-5), 100 warm-up
steps, cosine, label smoothing 0.2.
Data: ``--data-root`` holds the eleven folders as torchvision lays them out and, for strategies that need reference
data, ``reference/images`` and ``reference/captions.txt``. Nothing is fetched without ``--download``. The embedded
edition is a writer of the same layouts from the glyph world; this reader reads both, and ``edition.json`` tells them
apart.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from scipy.io.matlab import MatReadError

from mmcl.data.cache import materialise
from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder import LabelledFiles
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import SampleDataset
from mmcl.errors import ConfigError, DataError
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import TIL, Scenario
from mmcl_benchmarks.mtil.edition import read_edition
from mmcl_benchmarks.mtil.embedded import EDITION, write_mtil
from mmcl_benchmarks.mtil.packed import PackedSamples
from mmcl_benchmarks.mtil.prompts import TEMPLATES
from mmcl_benchmarks.mtil.sources import ORIGINS, Side, Source

ORDERS: Mapping[int, tuple[str, ...]] = {
    1: tuple(ORIGINS),
    2: (
        "StanfordCars",
        "Food",
        "MNIST",
        "OxfordPet",
        "Flowers",
        "SUN397",
        "Aircraft",
        "Caltech101",
        "DTD",
        "EuroSAT",
        "CIFAR100",
    ),
}
TRAINING: Mapping[str, Any] = {
    "iterations": 1001,
    "batch_size": 64,
    "lr": 1e-5,
    "weight_decay": 0.0,
    "warmup": 100,
    "label_smoothing": 0.2,
}
FASTER: Mapping[str, float] = {"Aircraft": 5e-5, "MNIST": 5e-5}
# what torchvision, scipy and json raise over lists and matrices that are incomplete or hold something else
_UNREADABLE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, EOFError, MatReadError)


@dataclass(kw_only=True)
class MTIL(BenchmarkPlugin):
    """Eleven data sets in one of two orders."""

    name: ClassVar[str] = "mtil"
    scenario: ClassVar[Scenario] = TIL

    data_root: str | None = None  # folder that holds the eleven data sets
    embedded: bool = False  # the edition that comes with MMCL
    order: int = 1  # 1 or 2
    experiences: int | None = None  # only the first ones of the order
    download: bool = False  # let torchvision fetch what is missing
    strict: bool = False  # refuse data sets that do not have the official size

    def __post_init__(self) -> None:
        """Check the options."""
        if self.order not in ORDERS:
            raise ConfigError("mtil.order", found=f"{self.order}", allowed="1 or 2", remedy="Choose one of the orders.")
        if self.experiences is not None and not 1 <= self.experiences <= len(ORIGINS):
            raise ConfigError(
                "mtil.experiences",
                found=f"{self.experiences}",
                allowed=f"1 to {len(ORIGINS)}",
                remedy="Choose how many data sets of the order to learn.",
            )

    def build(self) -> Benchmark:
        """Read the file lists of all data sets.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a data set is missing or, with ``strict``, not of its official size.
        """
        root = self._root()
        edition = read_edition(root)
        names = ORDERS[self.order][: self.experiences]
        data, counts, digests, first_id = [], {}, {}, 0
        for task_id, name in enumerate(names):
            source = self._source(root, name)
            templates = edition.templates.get(name, TEMPLATES[name])
            space = LabelSpace(
                tuple(ClassLabel(first_id + i, label, templates) for i, label in enumerate(source.names))
            )
            sides = [
                _samples(side, root, f"{name}/{kind}", first_id, task_id)
                for kind, side in (("train", source.train), ("test", source.test))
            ]
            counts[name] = [len(sides[0]), len(sides[1])]
            digests[name] = _digest(source, root)
            if edition.name == "official":
                self._check_size(name, counts[name])
            training = {"lr": FASTER[name]} if name in FASTER and not edition.training else {}
            data.append(ExperienceData(name, sides[0], sides[1], space, training=training))
            first_id += len(space)
        reference = root / "reference"
        return Benchmark(
            name=self.name,
            edition=edition.name,
            scenario=self.scenario,
            experiences=data,
            training={**TRAINING, **edition.training},
            reference=ReferenceData.from_folder(reference) if reference.is_dir() else None,
            metadata={
                "convention": "zscl",
                "order": self.order,
                "synthetic": edition.synthetic,
                "samples": counts,
                "digest": digests,
            },
        )

    def _root(self) -> Path:
        if self.embedded == (self.data_root is not None):
            raise ConfigError(
                "benchmark 'mtil'",
                found="both --embedded and --data-root" if self.embedded else "neither --embedded nor --data-root",
                allowed="one of them",
                remedy="Use 'mmcl run mtil --embedded' for the small edition that comes with MMCL, or "
                "'mmcl run mtil --data-root DIR' with the official data sets in DIR.",
            )
        if self.data_root is None:
            return materialise(f"mtil-{EDITION}", write_mtil)
        root = Path(self.data_root)
        if not root.is_dir() and not self.download:
            raise DataError(
                f"data root {root}",
                found="no such folder",
                allowed="a folder with the eleven data sets as torchvision lays them out",
                remedy="Correct --data-root, add --download, or use --embedded.",
            )
        return root

    def _source(self, root: Path, name: str) -> Source:
        origin = ORIGINS[name]
        if not self.download and not (root / origin.folder).is_dir():
            raise DataError(
                f"benchmark 'mtil', data set {name}",
                found=f"no folder {origin.folder} below {root}",
                allowed="the official files in that place",
                remedy=f"Get them from {origin.owner}, or add --download where torchvision can fetch them.",
            )
        try:
            source = origin.read(root, self.download)
            _check_plausible(source, root)
        except _UNREADABLE as error:
            raise DataError(
                f"benchmark 'mtil', data set {name}",
                found=f"{origin.folder} below {root} cannot be read ({type(error).__name__}: {error})",
                allowed="the official files, complete",
                remedy=f"Compare the folder with the copy from {origin.owner}.",
            ) from error
        return source

    def _check_size(self, name: str, found: Sequence[int]) -> None:
        official = list(ORIGINS[name].sizes)
        if list(found) == official:
            return
        if self.strict:
            raise DataError(
                f"benchmark 'mtil', data set {name}",
                found=f"{found[0]} training and {found[1]} test samples",
                allowed=f"{official[0]} and {official[1]}",
                remedy="Get a complete copy, or leave out --set benchmark.strict=true.",
            )
        warnings.warn(
            f"mtil, data set {name}: {found[0]} training and {found[1]} test samples instead of "
            f"{official[0]} and {official[1]}; scores are not comparable with published ones.",
            stacklevel=3,
        )


def _samples(side: Side, root: Path, name: str, first_id: int, task_id: int) -> SampleDataset:
    if side.images is not None:
        return PackedSamples(side.images, side.labels, name, first_id, task_id)
    files = [(path, first_id + label) for path, label in zip(side.files, side.labels, strict=True)]
    return LabelledFiles(files, root, task_id)


def _check_plausible(source: Source, root: Path) -> None:
    """Refuse what no intact copy has: an empty side, or a list that leads out of the data root.

    Raises:
        ValueError: in words that fit into the sentence of the caller.
    """
    for kind, side in (("training", source.train), ("test", source.test)):
        if not side.labels:
            raise ValueError(f"no {kind} sample is listed")
        if side.images is not None and len(side.images) != len(side.labels):
            raise ValueError(f"{len(side.images)} {kind} images, but {len(side.labels)} labels")
        if not 0 <= min(side.labels) <= max(side.labels) < len(source.names):
            raise ValueError(f"{kind} labels from {min(side.labels)} to {max(side.labels)}, {len(source.names)} names")
        for path in side.files:
            if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
                raise ValueError(f"the {kind} list leads out of the folder: {path}")


def _digest(source: Source, root: Path) -> str:
    """Identifies the split: which files, in which order, with which labels."""
    lines = []
    for side in (source.train, source.test):
        ids = [path.relative_to(root).as_posix() for path in side.files] or range(len(side.labels))
        lines += [f"{id_} {label}" for id_, label in zip(ids, side.labels, strict=True)]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]
