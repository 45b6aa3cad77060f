"""MTIL: multi-domain task-incremental learning over eleven image-classification data sets.

Source: introduced with ZSCL (Zheng et al., ICCV 2023); protocol and splits as in its release.
Scenario: TIL. The candidate class names of the tested data set are known at test time; there is no list across
data sets. With ``task_ids=false`` candidates are all that is known, as for methods that infer the task. The classifier
is the text tower: training uses the first template, the test all of them, averaged.
Protocol: evaluate zero-shot on all eleven; learn one after the other; after each, evaluate on all eleven, past and
future. Scores: Transfer, Avg, Last.
Orders: 1 is alphabetical; 2 is StanfordCars, Food, MNIST, OxfordPet, Flowers, SUN397, Aircraft, Caltech101, DTD,
EuroSAT, CIFAR100.
Splits (convention ``zscl``): official where there is one, without validation images (Pets: trainval); Caltech101,
EuroSAT and SUN397 80/20 with seed 42. Deviation: SUN397 is sorted before the split, because torchvision's order is that
of the file system.
Few shots: with ``shots`` so many training images of every class, the test sets as they are, and half as many steps, as
in the few-shot configurations of MoE-Adapters4CL (5 images, 501 steps; DIKI has 16). Which images follows from the name
of the data set and ``draw`` alone; the reference takes the first of a shuffled pass, already augmented.
Training defaults: 1,001 steps of 64, AdamW without weight decay, rate 1e-5 (Aircraft and MNIST 5e-5), 100 warm-up
steps, cosine, label smoothing 0.2.
Data: ``--data-root`` holds the eleven folders as torchvision lays them out and, for strategies that need reference
data, ``reference/images`` and ``reference/captions.txt``. Nothing is fetched without ``--download``. The embedded
edition is a writer of the same layouts from the glyph world; this reader reads both, and ``edition.json`` tells them
apart.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mmcl.errors import ConfigError
from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import HIDDEN_TIL, TIL, Scenario
from mmcl_benchmarks.copies.data_root import opened, require_count
from mmcl_benchmarks.formats.labelled import Side
from mmcl_benchmarks.formats.shots import few
from mmcl_benchmarks.mtil.embedded import EDITION, write_mtil
from mmcl_benchmarks.mtil.prompts import TEMPLATES
from mmcl_benchmarks.mtil.stream import CONTENTS, read_data_sets, stream_of

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
FEW_SHOT: Mapping[str, Any] = {**TRAINING, "iterations": 501}
FASTER: Mapping[str, float] = {"Aircraft": 5e-5, "MNIST": 5e-5}


@dataclass(kw_only=True)
class MTIL(BenchmarkPlugin):
    """Eleven data sets in one of two orders."""

    name: ClassVar[str] = "mtil"

    data_root: str | None = None  # folder that holds the eleven data sets
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    order: Literal[1, 2] = 1  # of the data sets
    shots: Count | None = None  # training images of a class; all, if none is given
    draw: Natural = 0  # with shots: another number draws other images
    experiences: Count | None = None  # only the first ones of the order
    task_ids: bool = True  # reveal the experience of every test image; else only its candidates are given
    download: bool = False  # let torchvision fetch what is missing
    strict: bool = False  # refuse data sets that do not have the official size

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, len(TEMPLATES))
        if self.draw and self.shots is None:
            raise ConfigError(
                f"{self.name}.draw",
                found=f"{self.draw}, of data sets that are learned as a whole",
                allowed="a number together with shots",
                remedy="Say how many images of a class are drawn, such as --set benchmark.shots=16, or leave it out.",
            )

    @property
    def scenario(self) -> Scenario:
        """TIL, or with a hidden task its candidates alone."""
        return TIL if self.task_ids else HIDDEN_TIL

    def build(self) -> Benchmark:
        """Read the file lists of all data sets.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a data set is missing or, with ``strict``, not of its official size.
        """
        place = opened(self, write_mtil, EDITION, CONTENTS, data_sets=TEMPLATES, download=self.download)
        edition = place.edition
        found = read_data_sets(
            place,
            ORDERS[self.order][: self.experiences],
            lambda name: edition.templates.get(name, TEMPLATES[name]),
            training=lambda name: {"lr": FASTER[name]} if name in FASTER and not edition.training else {},
            chosen=self._chosen,
            download=self.download,
            strict=self.strict,
        )
        return stream_of(
            place,
            found,
            name=self.name,
            scenario=self.scenario,
            training=TRAINING if self.shots is None else FEW_SHOT,
            protocol={"order": self.order} | ({} if self.shots is None else {"shots": self.shots, "draw": self.draw}),
        )

    def _chosen(self, name: str, side: Side) -> Side:
        """The images of a data set that are trained on."""
        if self.shots is None:
            return side
        return few(side, self.shots, random.Random(f"{self.name} {name} {self.draw}"))
