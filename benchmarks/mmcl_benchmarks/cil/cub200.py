"""CUB-200-2011 with few shots: 100 birds with all images, then 10 sessions of 10 with 5 images each.

Source: few-shot class-incremental protocol of Tao et al. (CVPR 2020), used by CEC (Zhang et al., CVPR 2021) and by
CPE-CLIP (D'Alessandro et al., ICCV Workshops 2023); the data are by Wah et al. (Caltech, 2011).
Scenario: CIL. After every session the test images of all classes seen so far are classified among these.
Protocol: see ``sessions``; prompt "{}." Scores: accuracy after every session, their mean, and what was lost from the
first to the last.
Order: of the class numbers, which is by name.
Class names: as ``classes.txt`` has them, without number and underscores: "Black footed Albatross".
Training defaults: 6 epochs of batch 4 in the first session, 5 of batch 4 later (see ``sessions``).
Data: ``--data-root`` holds ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``,
``classes.txt`` and ``images`` and, for the published samples, ``index_list/cub200/session_N.txt``. CUB-200 of 2010 is
another data set. The embedded edition has the same layout with 40 held-out letters, kin of a few base letters.
Deviations: test images go through the backbone's own preprocessing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_cub200
from mmcl_benchmarks.cil.sessions import FIRST, Shots, few_shot, session_protocol
from mmcl_benchmarks.cil.stream import class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.labelled import Source, check_plausible
from mmcl_benchmarks.formats.listing import Tree, found_side

FOLDER = "CUB_200_2011"
OWNER = "Caltech (CUB_200_2011.tgz; that of 2010, CUB_200, is another data set)"
SIZES: Mapping[str, int] = {"classes": 200, "training samples": 5994, "test samples": 5794}
SESSIONS = 10
SETTINGS: Mapping[str, Any] = {**FIRST, "epochs": 6, "batch_size": 4}
SIDES: Mapping[str, str] = {"train": "1", "test": "0"}  # as train_test_split.txt says


@dataclass(kw_only=True)
class CUB200(BenchmarkPlugin):
    """Half of the birds first, then ten few-shot sessions."""

    name: ClassVar[str] = "cub200"
    scenario: ClassVar[Scenario] = CIL

    data_root: str | None = None  # folder that holds CUB_200_2011 and, if wanted, index_list
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    shots: Count = 5  # training images of a class in the later sessions
    draw: Natural | None = None  # which images; by default those of index_list/cub200, if it is there
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
        root, edition, who = opened(self, write_embedded_cub200, EDITION, FOLDER)
        require(root, FOLDER, who, OWNER)
        with reading(who, f"{FOLDER} below {root}", OWNER):
            whole = read_cub200(root, who, self.strict)
            check_plausible(whole, root)
            classes = len(whole.names)
            protocol = session_protocol(classes, classes // 2, SESSIONS, SETTINGS)
            source, facts = few_shot(whole, protocol, root, Shots(self.name, self.shots, self.draw))
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


def read_cub200(root: Path, who: str, strict: bool) -> Source:
    """What the four lists say; labels are the class numbers from 0.

    Raises:
        OSError, ValueError: if a list is missing or damaged, or the lists speak of different images.
    """
    places, classes, sides = (
        _numbered(root / FOLDER / name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    names = _numbered(root / FOLDER / "classes.txt")
    label_of = {number: label for label, number in enumerate(names)}
    for name, listed in (("image_class_labels.txt", classes), ("train_test_split.txt", sides)):
        if odd := sorted(listed.keys() ^ places.keys()):
            raise ValueError(f"{name} and images.txt do not name the same images, such as number {odd[0]}")
    if odd := [number for number, name in classes.items() if name not in names]:
        raise ValueError(f"image_class_labels.txt gives image {odd[0]} class {classes[odd[0]]}, which has no name")
    if odd := [number for number, side in sides.items() if side not in SIDES.values()]:
        raise ValueError(f"train_test_split.txt says {sides[odd[0]]!r} of image {odd[0]}, neither 1 nor 0")
    tree = Tree(root)
    (train, lost), (test, also_lost) = (
        found_side(
            [
                (f"{FOLDER}/images/{place}", label_of[classes[number]])
                for number, place in places.items()
                if sides[number] == side
            ],
            tree,
            who,
            strict,
        )
        for side in SIDES.values()
    )
    return Source(train, test, [_spoken(name) for name in names.values()], lost + also_lost)


def _numbered(file: Path) -> dict[str, str]:
    """Number -> what the line says of it, in the order of the file."""
    said: dict[str, str] = {}
    for line, text in enumerate(file.read_text("utf-8").splitlines(), 1):
        number, _, rest = text.strip().partition(" ")
        if not number.isdecimal() or not rest:
            raise ValueError(f"{file.name}, line {line}: {text[:60]!r} is not a number and what it stands for")
        if number in said:
            raise ValueError(f"{file.name}, line {line}: number {number} is there twice")
        said[number] = rest
    return said


def _spoken(folder: str) -> str:
    """A class without its number: ``001.Black_footed_Albatross`` is a black footed albatross."""
    return folder.partition(".")[2].replace("_", " ") or folder
