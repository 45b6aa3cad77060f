"""CDDB: real or fake, in the images of one generator after the other.

Source: Li et al., "A Continual Deepfake Detection Benchmark" (WACV 2023); protocol of S-Prompts (Wang, Huang and Hong,
NeurIPS 2022).
Scenario: DIL. Two classes everywhere, real 0 and fake 1; the source of a test image is not known.
Protocol: learn the sources of a variant in order from ``train``; after each, test on ``val`` of all. Variants: ``hard``
(the one papers report), ``easy`` and ``long``. Published: AA is the mean over sources of binary accuracy with the final
model, every source weighing the same (``acc``; SAN has 440 images, GauGAN 10,000), and AF is ``bwt``.
Class names: "real" and "fake" in the one prompt "a {} photo." (ours: S-Prompts learns its prompts).
Training defaults: SGD with momentum 0.9, cosine, batch 128; 20 epochs at rate 0.001 and weight decay 5e-4 for the first
source, 50 at 0.01 and 2e-4 for the later ones. They are made for prompts on a frozen model.
Data: ``--data-root`` holds ``SOURCE/{train,val}/[OBJECT/]{0_real,1_fake}/IMAGE``; cyclegan, glow, stargan_gf and
stylegan have the level of object folders. A folder ``test``, which some releases have, is not read. The embedded
edition has the same layout.
Deviations: file lists are sorted (the reference reads folders in the order of the file system); the extra brightness
jitter of the reference is left to the backbone's augmentation. Else as in ``domainnet``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from mmcl.data.picture_files import folders_in, pictures_below
from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import DIL, Scenario
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.dil.embedded import EDITION, write_embedded_cddb
from mmcl_benchmarks.dil.stream import Settings, domain_stream, joined
from mmcl_benchmarks.formats.labelled import Side, Source, check_plausible

OWNER = "the authors of CDDB at ETH Zurich"
NAMES = ("real", "fake")
CLASS_FOLDERS = ("0_real", "1_fake")
ORDERS: Mapping[str, tuple[str, ...]] = {
    "hard": ("gaugan", "biggan", "wild", "whichfaceisreal", "san"),
    "easy": ("gaugan", "biggan", "cyclegan", "imle", "deepfake", "crn", "wild"),
    "long": (
        "gaugan",
        "biggan",
        "cyclegan",
        "imle",
        "deepfake",
        "crn",
        "wild",
        "glow",
        "stargan_gf",
        "stylegan",
        "whichfaceisreal",
        "san",
    ),
}
WITH_OBJECTS = frozenset({"cyclegan", "glow", "stargan_gf", "stylegan"})  # a level of object folders
SIZES: Mapping[str, int] = {  # of the published table, to the nearest hundred where it says thousands
    "gaugan": 10_000,
    "biggan": 4_000,
    "cyclegan": 2_600,
    "imle": 12_800,
    "deepfake": 5_400,
    "crn": 12_800,
    "wild": 10_500,
    "glow": 16_800,
    "stargan_gf": 16_800,
    "stylegan": 12_000,
    "whichfaceisreal": 2_000,
    "san": 440,
}
TEMPLATE = "a {} photo."
SETTINGS = Settings(
    later={
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "cosine",
        "epochs": 50,
        "batch_size": 128,
        "lr": 0.01,
        "weight_decay": 2e-4,
    },
    first={"epochs": 20, "lr": 0.001, "weight_decay": 5e-4},
)


@dataclass(kw_only=True)
class CDDB(BenchmarkPlugin):
    """Telling fakes of one generator after the other."""

    name: ClassVar[str] = "cddb"
    scenario: ClassVar[Scenario] = DIL

    data_root: str | None = None  # folder that holds the sources
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    variant: Literal["hard", "easy", "long"] = "hard"  # which sources, in which order
    experiences: Count | None = None  # only the first sources
    strict: bool = False  # refuse sources that do not have the published size

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, len(ORDERS[self.variant]))

    def build(self) -> Benchmark:
        """List the folders.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a source is missing or arranged in another way or, with ``strict``, of another size.
        """
        root, edition, _ = opened(self, write_embedded_cddb, EDITION, "a folder per source")
        sources = {}
        for name in ORDERS[self.variant][: self.experiences]:
            require(root, name, _who(name), OWNER)
            with reading(_who(name), f"{name} below {root}", OWNER):
                train, test = (_side(root / name / side, name in WITH_OBJECTS) for side in ("train", "val"))
                sources[name] = Source(train, test, NAMES)
                check_plausible(sources[name], root)
        if edition.official:
            for name in sources:
                images = _images_below(root / name)
                official = images if _as_published(images, SIZES[name]) else SIZES[name]
                check_size(_who(name), {"images": images}, {"images": official}, self.strict)
        return domain_stream(
            self.name,
            sources,
            root=root,
            edition=edition,
            template=TEMPLATE,
            settings=SETTINGS,
            convention=self.variant,
        )


def _side(folder: Path, with_objects: bool) -> Side:
    """The images of one side, sorted within each class folder.

    Raises:
        OSError: if the folder is missing.
        ValueError: if a class folder is not where it belongs.
    """
    bases = folders_in(folder) if with_objects else [folder]
    sides = []
    for base in bases:
        for name in CLASS_FOLDERS:
            if not (base / name).is_dir():
                level = "with" if with_objects else "without"
                raise ValueError(f"no folder {name} in {base.name}, {level} a level of object folders")
        sides.append(Side.below(base, CLASS_FOLDERS))
    return joined(sides)


def _images_below(folder: Path) -> int:
    """Images of all sides, ``test`` included."""
    return len(pictures_below(folder).files)


def _as_published(number: int, published: int) -> bool:
    """Whether a number is the published one, to the precision of the table."""
    return (round(number, -2) if published >= 1000 else number) == published


def _who(source: str) -> str:
    return f"benchmark 'cddb', source {source}"
