"""miniImageNet with few shots: 60 classes with all images, then 8 sessions of 5 classes with 5 images each.

Source: few-shot class-incremental protocol of Tao et al. (CVPR 2020) on the data of CEC (Zhang et al., CVPR 2021), used
by CPE-CLIP (D'Alessandro et al., ICCV Workshops 2023).
Scenario: CIL. After every session the test images of all classes seen so far are classified among these.
Protocol: see ``sessions``; prompt "{}." Scores: accuracy after every session, their mean, and what was lost from the
first to the last.
Order: of the classes as ``train.csv`` lists them, which is by wnid.
Class names: CLIP's curated ImageNet names by wnid.
Training defaults: 5 epochs of batch 32 in the first session and of batch 4 later (see ``sessions``).
Data: ``--data-root`` holds ``miniimagenet`` with ``images/*.jpg`` and CEC's ``split/train.csv`` and ``split/test.csv``,
and, for the published samples, ``index_list/mini_imagenet/session_N.txt``. The split of few-shot learning, with 64, 16
and 20 classes, is another one and refused. The embedded edition has the same layout with a hundred held-out symbols.
Deviations: test images go through the backbone's own preprocessing; CEC crops 84 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_miniimagenet
from mmcl_benchmarks.cil.sessions import Shots, few_shot, session_protocol
from mmcl_benchmarks.cil.stream import class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.imagenet_names import class_names
from mmcl_benchmarks.formats.labelled import Source, check_plausible
from mmcl_benchmarks.formats.listing import Tree, found_side

FOLDER = "miniimagenet"
OWNER = "the authors of CEC (icoz69/CEC-CVPR2021), whose page leads to miniimagenet.tar"
SIZES: Mapping[str, int] = {"classes": 100, "training samples": 50_000, "test samples": 10_000}
SESSIONS = 8
HEADER = "filename,label"


@dataclass(kw_only=True)
class MiniImageNet(BenchmarkPlugin):
    """Three fifths of the classes first, then eight few-shot sessions."""

    name: ClassVar[str] = "miniimagenet"
    scenario: ClassVar[Scenario] = CIL

    data_root: str | None = None  # folder that holds miniimagenet and, if wanted, index_list
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    shots: Count = 5  # training images of a class in the later sessions
    draw: Natural | None = None  # which images; by default those of index_list/mini_imagenet, if it is there
    experiences: Count | None = None  # only the first ones
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, 1 + SESSIONS)

    def build(self) -> Benchmark:
        """Read the lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(self, write_embedded_miniimagenet, EDITION, FOLDER)
        require(root, FOLDER, who, OWNER)
        with reading(who, f"{FOLDER} below {root}", OWNER):
            whole = read_miniimagenet(root, who, self.strict)
            check_plausible(whole, root)
            classes = len(whole.names)
            protocol = session_protocol(classes, classes * 3 // 5, SESSIONS)
            source, facts = few_shot(whole, protocol, root, Shots("mini_imagenet", self.shots, self.draw))
        if edition.official:
            found = {"classes": classes, "training samples": len(whole.train), "test samples": len(whole.test)}
            check_size(who, found, SIZES, self.strict)
        return class_stream(
            self.name,
            source,
            protocol,
            root=root,
            edition=edition,
            scenario=self.scenario,
            experiences=self.experiences,
            facts=facts,
        )


def read_miniimagenet(root: Path, who: str, strict: bool) -> Source:
    """What the two lists name; a class's label is its place among the classes of ``train.csv``.

    Raises:
        OSError, ValueError: if a list is missing or damaged, or the two have different classes.
    """
    rows = {side: _rows(root / FOLDER / "split" / f"{side}.csv") for side in ("train", "test")}
    wnids, tested = (list(dict.fromkeys(wnid for _, wnid in listed)) for listed in rows.values())
    if set(wnids) != set(tested):
        raise ValueError(
            f"train.csv has {len(wnids)} classes and test.csv {len(tested)}, not the same, as in the split of few-shot "
            "learning; that of CEC's index_list/mini_imagenet has all classes in both"
        )
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    tree = Tree(root)
    (train, lost), (test, also_lost) = (
        found_side([(f"{FOLDER}/images/{name}", label_of[wnid]) for name, wnid in listed], tree, who, strict)
        for listed in rows.values()
    )
    return Source(train, test, class_names(wnids, root / "LOC_synset_mapping.txt"), lost + also_lost)


def _rows(file: Path) -> list[tuple[str, str]]:
    """File name and wnid of every line behind the header."""
    header, *lines = file.read_text("utf-8").splitlines() or [""]
    if header.strip() != HEADER:
        raise ValueError(f"{file.name} begins with {header[:60]!r}, not with {HEADER!r}")
    rows = []
    for number, line in enumerate(lines, 2):
        name, _, wnid = line.strip().partition(",")
        if not name or not wnid or "," in wnid:
            raise ValueError(f"{file.name}, line {number}: {line[:60]!r} is not a file and a class")
        rows.append((name, wnid))
    return rows
