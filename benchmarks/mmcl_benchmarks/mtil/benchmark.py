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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.errors import ConfigError
from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import TIL, Scenario
from mmcl_benchmarks.data_root import check_size, find_root, reading, reference_below, require, require_count
from mmcl_benchmarks.edition import read_edition
from mmcl_benchmarks.mtil.embedded import EDITION, write_mtil
from mmcl_benchmarks.mtil.prompts import TEMPLATES
from mmcl_benchmarks.source import Source, check_plausible, digest, unused

if TYPE_CHECKING:
    from mmcl_benchmarks.mtil.sources import Origin

ORDERS: Mapping[int, tuple[str, ...]] = {
    1: tuple(TEMPLATES),
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


@dataclass(kw_only=True)
class MTIL(BenchmarkPlugin):
    """Eleven data sets in one of two orders."""

    name: ClassVar[str] = "mtil"
    scenario: ClassVar[Scenario] = TIL

    data_root: str | None = None  # folder that holds the eleven data sets
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    order: Count = 1  # 1 or 2
    experiences: Count | None = None  # only the first ones of the order
    download: bool = False  # let torchvision fetch what is missing
    strict: bool = False  # refuse data sets that do not have the official size

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        if self.order not in ORDERS:
            raise ConfigError("mtil.order", found=f"{self.order}", allowed="1 or 2", remedy="Choose one of the orders.")
        require_count(self.name, self.experiences, len(TEMPLATES))

    def build(self) -> Benchmark:
        """Read the file lists of all data sets.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a data set is missing or, with ``strict``, not of its official size.
        """
        from mmcl_benchmarks.mtil.sources import ORIGINS  # torchvision, which declaring does without

        root = find_root(
            self.name,
            embedded=self.embedded,
            validation=self.validation,
            folder=self.data_root,
            write=write_mtil,
            version=EDITION,
            contents="the eleven data sets as torchvision lays them out",
            download=self.download,
        )
        edition = read_edition(root, ORIGINS)
        names = ORDERS[self.order][: self.experiences]
        sources: dict[str, Source] = {}
        data, counts, digests, first_id = [], {}, {}, 0
        for task_id, name in enumerate(names):
            source = sources[name] = self._source(root, name, ORIGINS[name])
            templates = edition.templates.get(name, TEMPLATES[name])
            space = LabelSpace.of(edition.names_of(name, source.names), first_id=first_id, templates=templates)
            train, test = (
                side.samples(root, f"{name}/{kind}", space.ids, task_id)
                for kind, side in (("train", source.train), ("test", source.test))
            )
            counts[name] = [len(train), len(test)]
            digests[name] = digest((source.train, source.test), root)
            if edition.official:
                found = {"training samples": len(train), "test samples": len(test)}
                official = dict(zip(found, ORIGINS[name].sizes, strict=True))
                check_size(f"benchmark 'mtil', data set {name}", found, official, self.strict)
            training = {"lr": FASTER[name]} if name in FASTER and not edition.training else {}
            data.append(ExperienceData(name, train, test, space, training=training))
            first_id += len(space)
        return Benchmark(
            name=self.name,
            edition=edition.name,
            scenario=self.scenario,
            experiences=data,
            training=edition.settings(TRAINING),
            reference=reference_below(root),
            metadata={
                "convention": "zscl",
                "order": self.order,
                "synthetic": edition.synthetic,
                "samples": counts,
                "digest": digests,
            },
            remarks=unused(f"benchmark {self.name!r}", sources.values(), root),
        )

    def _source(self, root: Path, name: str, origin: "Origin") -> Source:
        who = f"benchmark 'mtil', data set {name}"
        if not self.download:
            remedy = f"Get them from {origin.owner}, or add --download where torchvision can fetch them."
            require(root, origin.folder, who, origin.owner, remedy)
        with reading(who, f"{origin.folder} below {root}", origin.owner):
            source = origin.read(root, self.download)
            check_plausible(source, root)
        return source
