"""ImageNet-R class by class: drawings, toys, tattoos and other renditions of 200 classes in 5, 10 or 20 experiences.

Source: data by Hendrycks et al. (ICCV 2021); as a class-incremental benchmark introduced with DualPrompt (Wang et al.,
ECCV 2022), used by CODA-Prompt (Smith et al., CVPR 2023), RAPF (Huang et al., ECCV 2024) and many others.
Scenario: CIL, or TIL with ``task_ids``; as in ``cifar100``.
Protocol: 10 experiences of 20 classes by default, 5 of 40 or 20 of 10 with ``steps``; as in ``cifar100``, with RAPF's
prompt "a good photo of a {}."
Split: the data have none. Papers take 24,000 images for training and 6,000 for the test, each group by a draw of its
own: folders ``train`` and ``test``, or CODA-Prompt's lists, are taken where they are; else four fifths are drawn for
training.
Order: NumPy's legacy permutation of 200 with seed 1993, as in PILOT; a class's number is the rank of its wnid.
CODA-Prompt has another order in every run.
Class names: CLIP's curated ImageNet names by wnid.
Training defaults: as in ``cifar100``, without label smoothing (ours).
Data: ``--data-root`` holds ``imagenet-r`` with a folder per wnid, or with ``train/WNID`` and ``test/WNID``, and, if
wanted, ``splits/imagenet-r_train.yaml`` and ``splits/imagenet-r_test.yaml``. The embedded edition has the same layout
with 40 held-out symbols in six manners of drawing.
Deviations: as in ``cifar100``.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

from mmcl.errors import ConfigError
from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_imagenet_r
from mmcl_benchmarks.cil.orders import imagenet_order
from mmcl_benchmarks.cil.stream import TRAINING, Protocol, class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.class_folders import classes_in, read_class_folders
from mmcl_benchmarks.formats.imagenet_names import class_names
from mmcl_benchmarks.formats.labelled import Side, Source, check_plausible
from mmcl_benchmarks.formats.listing import Entry, Tree, found_side

FOLDER = "imagenet-r"
SIDES = ("train", "test")
LISTS = tuple(f"splits/imagenet-r_{side}.yaml" for side in SIDES)
OWNER = "its authors (hendrycks/imagenet-r, whose page leads to imagenet-r.tar)"
SIZES: Mapping[str, int] = {"classes": 200, "training samples": 24_000, "test samples": 6_000}
TRAIN_SHARE = 0.8
TEMPLATE = "a good photo of a {}."
SETTINGS: Mapping[str, Any] = {**TRAINING, "label_smoothing": 0.0}


@dataclass(kw_only=True)
class ImageNetR(BenchmarkPlugin):
    """Renditions of 200 classes, as many classes in every experience."""

    name: ClassVar[str] = "imagenet_r"

    data_root: str | None = None  # folder that holds imagenet-r and, if wanted, splits
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    steps: Literal[5, 10, 20] = 10  # experiences that the classes are cut into
    draw: Natural | None = None  # which images are for the test; by default what the folder says, else draw 0
    experiences: Count | None = None  # only the first ones
    task_ids: bool = False  # reveal the experience of every test image: TIL instead of CIL
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, self.steps)

    @property
    def scenario(self) -> Scenario:
        """CIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else CIL

    def build(self) -> Benchmark:
        """List the folders, and split what they hold.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given, or ``draw`` for a folder that
                is split already.
            DataError: if a folder is missing or empty or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(self, write_embedded_imagenet_r, EDITION, FOLDER)
        require(root, FOLDER, who, OWNER)
        sorted_already = all((root / FOLDER / side).is_dir() for side in SIDES)
        if sorted_already and self.draw is not None:
            raise ConfigError(
                f"{self.name}.draw",
                found=f"{self.draw}, and {FOLDER} has the folders train and test",
                allowed="a number where all images of a class are in one folder",
                remedy="Leave it out, or name a folder that nobody has split.",
            )
        with reading(who, f"{FOLDER} below {root}", OWNER):
            if sorted_already:
                found = Split(read_class_folders([root / FOLDER / side for side in SIDES], _names(root)), "by folders")
            elif self.draw is None and any((root / place).exists() for place in LISTS):
                found = Split(_listed(root, who, self.strict), f"by {' and '.join(LISTS)}")
            else:
                found = Split(_drawn(root, self.draw or 0), f"drawn, draw {self.draw or 0}")
            source = found.source
            check_plausible(source, root)
        classes = len(source.names)
        if edition.official:
            sizes = {"classes": classes, "training samples": len(source.train), "test samples": len(source.test)}
            check_size(who, sizes, SIZES, self.strict)
        protocol = Protocol(
            order=imagenet_order(classes),
            sizes=group_sizes(classes, self.steps),
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
            facts={"split": found.origin},
        )


class Split(NamedTuple):
    """Both sides, and where they come from, for the metadata."""

    source: Source
    origin: str


def _names(root: Path) -> Path:
    """The list that names what is none of ImageNet's classes; no official copy needs it."""
    return root / "LOC_synset_mapping.txt"


def _drawn(root: Path, draw: int) -> Source:
    """Four fifths of all images for training, whatever their class, as papers draw them."""
    classes = classes_in(root / FOLDER)
    every = Side.below(root / FOLDER, classes)
    for_training = set(random.Random(f"imagenet-r {draw}").sample(range(len(every)), int(TRAIN_SHARE * len(every))))
    train = every.part([position for position in range(len(every)) if position in for_training])
    test = every.part([position for position in range(len(every)) if position not in for_training])
    return Source(replace(train, left_out=every.left_out), test, class_names(classes, _names(root)))


def _listed(root: Path, who: str, strict: bool) -> Source:
    """What CODA-Prompt's two lists name."""
    classes = classes_in(root / FOLDER)
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    entries = [_entries(root / place, label_of) for place in LISTS]
    if twice := {name for name, _ in entries[0]} & {name for name, _ in entries[1]}:
        raise ValueError(f"both lists name {min(twice)}")
    tree = Tree(root)
    (train, lost), (test, also_lost) = (found_side(of_side, tree, who, strict) for of_side in entries)
    return Source(train, test, class_names(classes, _names(root)), lost + also_lost)


def _entries(file: Path, label_of: Mapping[str, int]) -> list[Entry]:
    """Places below the data root, with the label of the folder.

    The file is YAML of one kind only: the list ``data`` of paths, then the list ``targets`` of numbers, which count
    classes in an order of their own and are not needed.
    """
    lines = file.read_text("utf-8").splitlines()
    if not lines or lines[0].strip() != "data:":
        raise ValueError(f"{file.name} does not begin with the list 'data'")
    entries = []
    for number, line in enumerate(lines[1:], 2):
        if line.strip() == "targets:":
            break
        parts: Sequence[str] = PurePosixPath(line.strip().removeprefix("- ")).parts[-2:]
        if not line.lstrip().startswith("- ") or len(parts) < 2 or parts[0] not in label_of:
            raise ValueError(f"{file.name}, line {number}: {line[:60]!r} is no image in a class folder of {FOLDER}")
        entries.append(("/".join((FOLDER, *parts)), label_of[parts[0]]))
    return entries
