"""Readers over every layout of every benchmark and of own data, in miniature, with one file changed at a time."""

import random
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmcl_benchmarks.cil.layouts import (
    write_cub200,
    write_imagenet,
    write_imagenet100,
    write_imagenet_r,
    write_miniimagenet,
    write_session_lists,
    write_tiny_imagenet,
)
from mmcl_benchmarks.dil.cddb import ORDERS, WITH_OBJECTS
from mmcl_benchmarks.dil.embedded import CORE50_ORDER, CORE50_TEST, DOMAINS
from mmcl_benchmarks.dil.layouts import write_cddb, write_core50, write_domainnet
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.formats.imagenet_names import curated_names
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.split import TEST
from mmcl_benchmarks.mtil import layouts
from mmcl_benchmarks.p9d.industries import INDUSTRIES
from mmcl_benchmarks.p9d.layout import DrawnProduct, write_p9d
from PIL import Image

from mmcl.build import benchmark
from mmcl.errors import MMCLError

from . import own
from .ledger import Ledger
from .options import mutated

TOKENS = (
    *(b"../", b"/etc/passwd", b"\0", b"\xff\xfe", b" ", b"\n", b"\t", b",", b'"', b"[" * 5000, b"{" * 5000, b"\x1b[2J"),
    *(
        b"-1",
        b"1e999",
        b"99999999999",
        b"9" * 5000,
        b"NaN",
        b"null",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"cos\nsystem\n",
    ),
)
PICTURES = {".jpg", ".jpeg", ".png"}
MOST_ROWS = 6  # of each side
GREY = Image.new("RGB", (8, 8), "grey")


def _drawn(names: list[str]) -> Drawn:
    return Drawn(names, [[GREY] * 2] * len(names), [[GREY]] * len(names))


def _mtil(root: Path) -> None:
    digits = np.zeros((4, 28, 28), np.uint8)
    for write in (
        *(layouts.write_aircraft, layouts.write_caltech101, layouts.write_dtd, layouts.write_eurosat),
        *(layouts.write_flowers, layouts.write_food101, layouts.write_pets, layouts.write_cars, layouts.write_sun397),
    ):
        write(root, _drawn(["first", "second"]))
    layouts.write_mnist(root, (digits, np.arange(4)), (digits[:2], np.arange(2)))
    write_cifar100(root, _drawn([f"class {label}" for label in range(100)]))


def _core50(root: Path) -> None:
    frames = {session: [[GREY] * 2] * 3 for session in range(1, 12)}
    write_core50(root, frames, CORE50_ORDER, CORE50_TEST)


def _core50_pickled(root: Path) -> None:
    _core50(root)
    shutil.rmtree(root / "batches_filelists")


def _cddb(root: Path) -> None:
    for source in ORDERS["long"]:
        write_cddb(root, source, [[GREY] * 2] * 2, [[GREY]] * 2, ("b", "a") if source in WITH_OBJECTS else ("",))


def _p9d(root: Path) -> None:
    products = [DrawnProduct("木椅 two", "category", GREY)]
    write_p9d(root, {part: dict.fromkeys(INDUSTRIES, products) for part in ("train", "test", "query", "gallery")})


def _of_imagenet(write: Callable[..., object]) -> Callable[[Path], None]:
    wnids = list(curated_names())[:20]
    return lambda root: write(root, _drawn([curated_names()[wnid] for wnid in wnids]), wnids) and None


def _tiny(root: Path) -> None:
    wnids = list(curated_names())[:20]
    write_tiny_imagenet(root, _drawn([curated_names()[wnid] for wnid in wnids]), wnids, wnids)


def _mini(root: Path) -> None:
    wnids = list(curated_names())[:20]
    lines = write_miniimagenet(root, _many(20), wnids)
    write_session_lists(root / "index_list" / "mini_imagenet", lines, [12, *[1] * 8], random.Random(0))


def _birds(root: Path) -> None:
    lines = write_cub200(root, _many(20))
    write_session_lists(root / "index_list" / "cub200", lines, [10, *[1] * 10], random.Random(0))


def _cifar_sessions(root: Path) -> None:
    write_cifar100(root, _many(100))
    lines = [[str(6 * label + number) for number in range(6)] for label in range(100)]
    write_session_lists(root / "index_list" / "cifar100", lines, [60, *[5] * 8], random.Random(0))


def _many(classes: int) -> Drawn:
    """Enough training images for five shots."""
    return Drawn([f"class {label}" for label in range(classes)], [[GREY] * 6] * classes, [[GREY]] * classes)


def _renditions(root: Path) -> None:
    wnids = list(curated_names())[:20]
    write_imagenet_r(root, [curated_names()[wnid] for wnid in wnids], wnids, [{"sketch": [GREY] * 6}] * 20)
    places = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    (root / "splits").mkdir()
    for side, listed in (("train", places[::2]), ("test", places[1::2])):
        lines = ["data:", *(f"- data/{place}" for place in listed), "targets:", *("- 7" for _ in listed)]
        (root / "splits" / f"imagenet-r_{side}.yaml").write_text("\n".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class Layout:
    """Data of a benchmark.

    Attributes:
        benchmark: its name.
        write: writes it into a folder.
        place: what is named as the data, below that folder.
        options: beside the place.
    """

    benchmark: str
    write: Callable[[Path], object]
    place: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


LAYOUTS: Mapping[str, Layout] = {
    "mtil": Layout("mtil", _mtil),
    "cifar100": Layout("cifar100", lambda root: write_cifar100(root, _drawn([f"class {n}" for n in range(100)]))),
    "tiny-imagenet": Layout("tiny-imagenet", _tiny),
    "imagenet100": Layout("imagenet100", _of_imagenet(write_imagenet100)),
    "imagenet1000": Layout("imagenet1000", _of_imagenet(write_imagenet)),
    "cifar100 sessions": Layout("cifar100", _cifar_sessions, options={"shots": 5}),
    "imagenet_r": Layout("imagenet_r", _renditions),
    "miniimagenet": Layout("miniimagenet", _mini),
    "cub200": Layout("cub200", _birds),
    "domainnet": Layout(
        "domainnet", lambda root: write_domainnet(root, dict.fromkeys(DOMAINS[TEST], _drawn(["a", "b", "c"])))
    ),
    "core50": Layout("core50", _core50),
    "core50 pickled": Layout("core50", _core50_pickled),
    "cddb": Layout("cddb", _cddb),
    "p9d": Layout("p9d", _p9d),
    "own folder": Layout("own", own.write_folder, options={"steps": 2}),
    "own CSV": Layout("own", own.write_csv, "rows.csv", {"by": "domain", "domain": "maker"}),
    "own pairs": Layout("own", own.write_pairs, "rows.csv", {"by": "pairs", "steps": 3}),
    "own windows": Layout("own", own.write_windows, "rows.csv", {"steps": 2}),
    "own saved": Layout("own", own.write_saved, options={"steps": 2}),
}


def fuzz_readers(count: int, chance: random.Random, folder: Path) -> Ledger:
    """So many files with other bytes, spread over all layouts; lists three times as often as pictures."""
    ledger = Ledger("files of data sets")
    for place, (name, layout) in enumerate(LAYOUTS.items()):
        root = folder / name
        root.mkdir(parents=True)
        layout.write(root)
        if layout.benchmark != "own":
            (root / "edition.json").write_text('{"edition": "miniature"}')
        lists, pictures = _files(root)
        for _ in range(count * (place + 1) // len(LAYOUTS) - count * place // len(LAYOUTS)):
            file = chance.choice(pictures if pictures and (not lists or chance.random() < 0.25) else lists)
            whole = file.read_bytes()
            file.write_bytes(mutated(whole, chance, TOKENS))
            ledger.attempt(f"{file.relative_to(folder)}", lambda layout=layout, root=root: _read(layout, root))
            file.write_bytes(whole)
    return ledger


def _files(root: Path) -> tuple[list[Path], list[Path]]:
    every = sorted(path for path in root.rglob("*") if path.is_file())
    return [f for f in every if f.suffix.lower() not in PICTURES], [f for f in every if f.suffix.lower() in PICTURES]


def _read(layout: Layout, root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other sizes than the official ones
        built = benchmark(layout.benchmark, data_root=str(root / layout.place), **layout.options).build()
        for samples in (side for data in built.experiences for side in (data.train, data.test)):
            for row in range(min(len(samples), MOST_ROWS)):
                with suppress(MMCLError):  # a sentence about one row leaves the others to be read
                    samples[row]
