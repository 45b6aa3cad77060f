"""ImageNet class by class: a thousand classes in 10 experiences.

Source: protocol of Continual-CLIP (Thengane et al. 2022).
Scenario: CIL, or TIL with ``task_ids``; as in ``cifar100``.
Protocol: as in ``cifar100``, with the prompt "a good photo of a {}.".
Order: NumPy's legacy permutation of 1000 with seed 1993; a class's number is the rank of its wnid.
Class names: CLIP's curated ImageNet names by wnid.
Training defaults: as in ``cifar100``, but batch 128.
Data: ``--data-root`` holds ImageNet's folders ``train/WNID`` and ``val/WNID``. The embedded edition has the same layout
with 100 held-out symbols, named in ``LOC_synset_mapping.txt``.
Deviations: as in ``cifar100``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_imagenet1000
from mmcl_benchmarks.cil.orders import imagenet_order
from mmcl_benchmarks.cil.stream import TRAINING, Protocol, class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.class_folders import read_class_folders
from mmcl_benchmarks.formats.labelled import check_plausible

FOLDERS = ("train", "val")
OWNER = "ImageNet"
SIZES: Mapping[str, int] = {"classes": 1000, "training samples": 1_281_167, "test samples": 50_000}
STEPS = 10
TEMPLATE = "a good photo of a {}."
SETTINGS: Mapping[str, Any] = {**TRAINING, "batch_size": 128}


@dataclass(kw_only=True)
class ImageNet1000(BenchmarkPlugin):
    """A thousand classes in ten equal parts."""

    name: ClassVar[str] = "imagenet1000"

    data_root: str | None = None  # folder that holds train and val
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    experiences: Count | None = None  # only the first ones
    task_ids: bool = False  # reveal the experience of every test image: TIL instead of CIL
    strict: bool = False  # refuse data that do not have the official size

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, STEPS)

    @property
    def scenario(self) -> Scenario:
        """CIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else CIL

    def build(self) -> Benchmark:
        """List the folders.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a folder is missing or empty or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(
            self, write_embedded_imagenet1000, EDITION, f"ImageNet's folders {' and '.join(FOLDERS)}"
        )
        for place in FOLDERS:
            require(root, place, who, OWNER)
        with reading(who, f"the copy below {root}", OWNER):
            source = read_class_folders([root / place for place in FOLDERS], root / "LOC_synset_mapping.txt")
            check_plausible(source, root)
        classes = len(source.names)
        if edition.official:
            found = {"classes": classes, "training samples": len(source.train), "test samples": len(source.test)}
            check_size(who, found, SIZES, self.strict)
        protocol = Protocol(
            order=imagenet_order(classes),
            sizes=group_sizes(classes, STEPS),
            template=TEMPLATE,
            training=SETTINGS,
            convention="wnid-rank-seed1993",
        )
        return class_stream(
            self.name,
            source,
            protocol,
            root=root,
            edition=edition,
            scenario=self.scenario,
            experiences=self.experiences,
        )
