"""ImageNet-100 class by class: the first hundred classes of ImageNet in 10 experiences, or half first and then 10.

Source: protocol of Continual-CLIP (Thengane et al. 2022) and ZSCL (Zheng et al., ICCV 2023); list files as the
Continuum library publishes them.
Scenario: CIL, or TIL with ``task_ids``; as in ``cifar100``.
Protocol: as in ``cifar100``, with the prompt "a good photo of a {}.". By default 10 experiences of 10 classes; with
``half_first`` 50 classes, then 10 experiences of 5.
Classes: the first hundred wnids in sorted order (tench ... goose) with 50 validation images each, as in the published
lists. Other papers use another hundred; their numbers cannot be compared.
Order: NumPy's legacy permutation of 100 with seed 1993.
Class names: CLIP's curated ImageNet names by wnid.
Training defaults: as in ``cifar100``, but batch 128, rate 7e-6, weight decay 0.1 and no label smoothing.
Data: ``--data-root`` holds ImageNet's folders ``train/WNID`` and ``val/WNID`` and the lists ``train_100.txt`` and
``val_100.txt`` with lines "val/WNID/FILE.JPEG LABEL". The embedded edition has the same layout with 20 held-out
symbols, named in ``LOC_synset_mapping.txt``.
Deviations: as in ``cifar100``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_imagenet100
from mmcl_benchmarks.cil.orders import imagenet_order
from mmcl_benchmarks.cil.stream import TRAINING, Protocol, class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.imagenet_names import class_names
from mmcl_benchmarks.formats.labelled import Source, check_plausible
from mmcl_benchmarks.formats.listing import Tree, found_side, listed_classes, read_list

LISTS = ("train_100.txt", "val_100.txt")
OWNER = "ImageNet, and the lists from the Continuum library's release"
SIZES: Mapping[str, int] = {"classes": 100, "test samples": 5000}
STEPS = 10
TEMPLATE = "a good photo of a {}."
SETTINGS: Mapping[str, Any] = {**TRAINING, "batch_size": 128, "lr": 7e-6, "weight_decay": 0.1, "label_smoothing": 0.0}


@dataclass(kw_only=True)
class ImageNet100(BenchmarkPlugin):
    """A hundred classes in ten equal parts, or half of them first."""

    name: ClassVar[str] = "imagenet100"

    data_root: str | None = None  # folder that holds train, val and the two lists
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    half_first: bool = False  # half of the classes first, then ten experiences of the rest
    experiences: Count | None = None  # only the first ones
    task_ids: bool = False  # reveal the experience of every test image: TIL instead of CIL
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, STEPS + self.half_first)

    @property
    def scenario(self) -> Scenario:
        """CIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else CIL

    def build(self) -> Benchmark:
        """Read the lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(
            self,
            write_embedded_imagenet100,
            EDITION,
            f"ImageNet's folders train and val and the lists {' and '.join(LISTS)}",
        )
        for place in LISTS:
            require(root, place, who, OWNER)
        with reading(who, f"the copy below {root}", OWNER):
            source = read_imagenet100(root, who, self.strict)
            check_plausible(source, root)
        classes = len(source.names)
        if edition.official:
            check_size(who, {"classes": classes, "test samples": len(source.test)}, SIZES, self.strict)
        protocol = Protocol(
            order=imagenet_order(classes),
            sizes=group_sizes(classes, STEPS, first=classes // 2 if self.half_first else 0),
            template=TEMPLATE,
            training=SETTINGS,
            convention="first-hundred-seed1993",
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


def read_imagenet100(root: Path, who: str, strict: bool) -> Source:
    """What the two lists name; the folder of an image is its class.

    Raises:
        OSError, ValueError: if a list is missing or damaged, or labels and classes do not match.
    """
    lists = {place: read_list(root / place) for place in LISTS}
    tree = Tree(root)
    (train, lost), (test, also_lost) = (found_side(entries, tree, who, strict) for entries in lists.values())
    wnids = listed_classes(lists)
    return Source(train, test, class_names(wnids, root / "LOC_synset_mapping.txt"), lost + also_lost)
