"""X-TAIL: ten image data sets, one after the other; at test time all of their classes compete, and no task is known.

Source: Xu et al., "Advancing cross-domain discriminability in continual learning of vision-language models", NeurIPS
2024 (RAIL), and its released configuration.
Scenario: cross-domain task-agnostic incremental learning. A test image is compared with the class names of all ten data
sets, those still to come among them.
Protocol: evaluate on all ten; learn 16 images of every class of a data set, then of the next; after each, evaluate on
all ten. One template, "a photo of a {}." Scores: Transfer, Avg, Last, as in ``mtil``.
Orders: 1 is that of the released configuration; 2 is the second one of ``mtil`` without CIFAR100 (ours).
A class belongs to its data set: two data sets may have a class of the same name, which stays two classes. A head made
of text cannot tell them apart, and a remark says so.
Deviations: splits are those of ``mtil``, where the authors have those of CoOp; which 16 images are trained on follows
from the name of the data set and ``draw`` alone. In training the classes of the data set compete (``own_classes``), as
in ``mtil``; the authors' methods in closed form have no such choice. Steps and rates are those of ``mtil`` with half as
many steps (ours): the source trains nothing by steps.
Data: as in ``mtil``, whose folders and embedded edition are read.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import XTAIL, Scenario
from mmcl_benchmarks.copies.data_root import opened, require_count
from mmcl_benchmarks.formats.shots import few
from mmcl_benchmarks.mtil.benchmark import FEW_SHOT
from mmcl_benchmarks.mtil.benchmark import ORDERS as ORDERS_OF_MTIL
from mmcl_benchmarks.mtil.embedded import EDITION, write_mtil
from mmcl_benchmarks.mtil.prompts import TEMPLATES
from mmcl_benchmarks.mtil.stream import CONTENTS, read_data_sets, stream_of

ORDERS = {number: tuple(name for name in names if name != "CIFAR100") for number, names in ORDERS_OF_MTIL.items()}
TEMPLATE = "a photo of a {}."
TRAINING: Mapping[str, Any] = {**FEW_SHOT, "own_classes": True}


@dataclass(kw_only=True)
class XTail(BenchmarkPlugin):
    """Ten data sets in one of two orders."""

    name: ClassVar[str] = "xtail"
    scenario: ClassVar[Scenario] = XTAIL

    data_root: str | None = None  # folder that holds the data sets
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    order: Literal[1, 2] = 1  # of the data sets
    shots: Count = 16  # training images of a class
    draw: Natural = 0  # another number draws other images
    experiences: Count | None = None  # only the first ones of the order
    download: bool = False  # let torchvision fetch what is missing
    strict: bool = False  # refuse data sets that do not have the official size

    def __post_init__(self) -> None:
        """Check the options, the order among them."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, len(ORDERS[1]))

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
            lambda name: edition.templates.get(name, (TEMPLATE,))[:1],
            chosen=lambda name, side: few(side, self.shots, random.Random(f"xtail {name} {self.draw}")),
            download=self.download,
            strict=self.strict,
        )
        return stream_of(
            place,
            found,
            name=self.name,
            scenario=self.scenario,
            training=TRAINING,
            protocol={"order": self.order, "shots": self.shots, "draw": self.draw},
        )
