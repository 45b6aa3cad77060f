"""Tiny ImageNet class by class: half of the 200 classes first, then the rest in 5, 10 or 20 experiences.

Source: protocol of Continual-CLIP (Thengane et al. 2022), ZSCL (Zheng et al., ICCV 2023) and MoE-Adapters4CL (Yu et
al., CVPR 2024); the data set is by Stanford's CS231n.
Scenario: CIL, or TIL with ``task_ids``; as in ``cifar100``.
Protocol: as in ``cifar100``, with the prompt "a bad photo of a {}.". Papers count only the experiences after the first:
"20 steps" are 21 experiences.
Order: what ``random.shuffle`` makes of 0..199 after ``random.seed(0)``. The numbers are lines of ``wnids.txt``, which
is not sorted.
Class names: CLIP's curated ImageNet names by wnid; the first synonym in ``words.txt`` for what is none of ImageNet's
thousand classes.
Training defaults: as in ``cifar100``.
Data: ``--data-root`` holds ``tiny-imagenet-200``. Its test split has no labels, so ``val`` is the test set. The
embedded edition has the same layout with 40 held-out symbols.
Deviations: as in ``cifar100``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_tiny_imagenet
from mmcl_benchmarks.cil.orders import tiny_imagenet_order
from mmcl_benchmarks.cil.stream import TRAINING, Protocol, class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.imagenet_names import class_names
from mmcl_benchmarks.formats.labelled import Side, Source, check_plausible
from mmcl_benchmarks.formats.listing import Tree, found_side

FOLDER = "tiny-imagenet-200"
OWNER = "Stanford's course CS231n"
SIZES: Mapping[str, int] = {"classes": 200, "training samples": 100_000, "test samples": 10_000}
TEMPLATE = "a bad photo of a {}."


@dataclass(kw_only=True)
class TinyImageNet(BenchmarkPlugin):
    """Half of the classes first, then the rest in equal parts."""

    name: ClassVar[str] = "tiny-imagenet"

    data_root: str | None = None  # folder that holds tiny-imagenet-200
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    steps: Literal[5, 10, 20] = 10  # experiences after the first
    experiences: Count | None = None  # only the first ones
    task_ids: bool = False  # reveal the experience of every test image: TIL instead of CIL
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, 1 + self.steps)

    @property
    def scenario(self) -> Scenario:
        """CIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else CIL

    def build(self) -> Benchmark:
        """Read the file lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given, or there are fewer classes than
                steps.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(self, write_embedded_tiny_imagenet, EDITION, FOLDER)
        require(root, FOLDER, who, OWNER)
        with reading(who, f"{FOLDER} below {root}", OWNER):
            source = read_tiny_imagenet(root, who, self.strict)
            check_plausible(source, root)
        classes = len(source.names)
        if edition.official:
            found = {"classes": classes, "training samples": len(source.train), "test samples": len(source.test)}
            check_size(who, found, SIZES, self.strict)
        protocol = Protocol(
            order=tiny_imagenet_order(classes),
            sizes=group_sizes(classes, self.steps, first=classes // 2),
            template=TEMPLATE,
            training=TRAINING,
            convention="wnids-lines-seed0",
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


def read_tiny_imagenet(root: Path, who: str, strict: bool) -> Source:
    """The classes of ``wnids.txt`` in its order, all training images, and ``val`` as the test side.

    Raises:
        OSError, ValueError: if a list is missing or damaged, or a class has no folder.
    """
    folder = root / FOLDER
    wnids = (folder / "wnids.txt").read_text("utf-8").split()
    if len(set(wnids)) != len(wnids):
        raise ValueError("wnids.txt names a class twice")
    train = Side.below(folder / "train", [f"{wnid}/images" for wnid in wnids])
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    entries = []
    for number, line in enumerate((folder / "val" / "val_annotations.txt").read_text("utf-8").splitlines(), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in label_of:
            raise ValueError(f"val_annotations.txt, line {number}: {wnid!r} is none of the classes in wnids.txt")
        entries.append((f"{FOLDER}/val/images/{name}", label_of[wnid]))
    test, missing = found_side(entries, Tree(root), who, strict)
    return Source(train, test, class_names(wnids, folder / "words.txt"), missing)
