"""The embedded edition of MTIL: eleven parts of the glyph world in the eleven official layouts.

Every symbol is held out: no pre-trained model of this project has seen it in any font. MNIST's seat holds the real
handwritten digits of scikit-learn, a domain that no font ever drew.

| seat | symbols | | seat | symbols |
|---|---|---|---|---|
| Aircraft | Greek | | Food | Arabic |
| Caltech101 | arrows | | MNIST | scanned digits |
| CIFAR100 | Cyrillic | | OxfordPet | modifier letters |
| DTD | box drawing and blocks | | StanfordCars | Latin small letters |
| EuroSAT | dominoes and playing cards | | SUN397 | Latin capital letters |
| Flowers | Braille | | | |

Where the official split is by file list, the test images are drawn in fonts that the training images do not use, the
two fonts unknown to the pre-trained models first. Where it is random (Caltech101, EuroSAT, SUN397), fonts are mixed.

The validation edition has as many other symbols in every seat, none of them in those two fonts, and other scans. The
table's seats use up two thirds of what is held out, so that 372 of its 701 symbols were never seen, and 329 are known
to the pre-trained models: its zero-shot scores are too high to be reported as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_benchmarks.copies.edition import write_edition
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.glyphs.drawing import coverage
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import drawn
from mmcl_benchmarks.glyphs.split import TEST, Split
from mmcl_benchmarks.glyphs.symbols import Symbol, held_out_symbols, seen_symbols
from mmcl_benchmarks.mtil import layouts
from mmcl_benchmarks.mtil.layouts import Labelled

EDITION = "embedded-1"
TRAIN_PER_CLASS, TEST_PER_CLASS = 6, 2
DIGITS_TRAIN, DIGITS_TEST = 400, 200
FONTS_NEEDED = 4
REFERENCE_IMAGES, REFERENCE_TEXTS = 1500, 2000
TEMPLATES = ("the symbol {}", "{}", "a {}", "a drawing of {}")
TRAINING = {"iterations": 60, "batch_size": 64, "lr": 1e-3, "warmup": 6, "label_smoothing": 0.0}


@dataclass(frozen=True)
class Seat:
    """Which symbols take the place of a data set, and how they are written."""

    holds: Callable[[Symbol], bool]
    write: Callable[[Path, Drawn], None]


def _starts(*scripts: str) -> Callable[[Symbol], bool]:
    return lambda symbol: symbol.script in scripts


SEATS: Mapping[str, Seat] = {
    "Aircraft": Seat(_starts("greek"), layouts.write_aircraft),
    "Caltech101": Seat(lambda symbol: "arrow" in symbol.name.split(), layouts.write_caltech101),
    "CIFAR100": Seat(_starts("cyrillic"), write_cifar100),
    "DTD": Seat(_starts("box", "quadrant", "upper", "lower"), layouts.write_dtd),
    "EuroSAT": Seat(_starts("domino", "playing"), layouts.write_eurosat),
    "Flowers": Seat(_starts("braille"), layouts.write_flowers),
    "Food": Seat(_starts("arabic"), layouts.write_food101),
    "OxfordPet": Seat(_starts("modifier"), layouts.write_pets),
    "StanfordCars": Seat(lambda symbol: symbol.name.startswith("latin small"), layouts.write_cars),
    "SUN397": Seat(lambda symbol: symbol.name.startswith("latin capital"), layouts.write_sun397),
}


def write_mtil(folder: Path, split: Split = TEST) -> None:
    """Write the whole edition; two calls write the same bytes."""
    seated = seat_symbols(split)
    for name, seat in SEATS.items():
        seat.write(folder, drawn(seated[name], split.generator(name), TRAIN_PER_CLASS, TEST_PER_CLASS, split))
    layouts.write_mnist(folder, *_digits(split))
    held = {symbol for symbols in seated.values() for symbol in symbols}
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split, without=held)
    templates = dict.fromkeys(SEATS, TEMPLATES) | {"MNIST": ("digit {}", "{}", "a {}", "a drawing of {}")}
    write_edition(folder, templates=templates, training=TRAINING, split=split)


def seat_symbols(split: Split) -> dict[str, list[Symbol]]:
    """The symbols of every seat.

    In the validation edition a seat has as many as in the test edition and none of them: first its share of the
    held-out symbols that no seat of the test edition has, neighbours by code point, then symbols of its own scripts
    that the pre-trained models know.
    """
    tested = {name: [symbol for symbol in held_out_symbols() if seat.holds(symbol)] for name, seat in SEATS.items()}
    if split == TEST:
        return tested
    taken = {symbol for symbols in tested.values() for symbol in symbols}
    unseen = [symbol for symbol in held_out_symbols() if symbol not in taken]
    ends = accumulate(map(len, tested.values()))
    total = sum(map(len, tested.values()))
    cuts = [0, *(len(unseen) * end // total for end in ends)]
    seated = {}
    for (name, symbols), (start, stop) in zip(tested.items(), pairwise(cuts), strict=True):
        known = [symbol for symbol in seen_symbols() if SEATS[name].holds(symbol) and _in_fonts(symbol, split)]
        filled = split.generator(f"seat {name}").sample(known, len(symbols) - (stop - start))
        seated[name] = [*unseen[start:stop], *filled]
    return seated


def _in_fonts(symbol: Symbol, split: Split) -> bool:
    """Whether enough fonts have the symbol for a training and a test side, as with held-out symbols."""
    return sum(symbol.character in coverage(font) for font in split.fonts) >= FONTS_NEEDED


def _digits(split: Split) -> tuple[Labelled, Labelled]:
    """Dark-on-light 8 x 8 scans turned into MNIST's light-on-dark 28 x 28; the validation split has the next ones."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    small = (scans.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = np.stack([np.asarray(Image.fromarray(scan).resize((28, 28), Image.Resampling.BICUBIC)) for scan in small])
    first = 0 if split == TEST else DIGITS_TRAIN + DIGITS_TEST
    order = np.random.default_rng(0).permutation(len(large))[first:]
    train, test = order[:DIGITS_TRAIN], order[DIGITS_TRAIN : DIGITS_TRAIN + DIGITS_TEST]
    return (large[train], labels[train]), (large[test], labels[test])
