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
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from mmcl_benchmarks.cifar100 import write_cifar100
from mmcl_benchmarks.drawn import Drawn
from mmcl_benchmarks.edition import write_edition
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import drawn
from mmcl_benchmarks.glyphs.symbols import Symbol, held_out_symbols
from mmcl_benchmarks.mtil import layouts
from mmcl_benchmarks.mtil.layouts import Labelled

EDITION = "embedded-1"
TRAIN_PER_CLASS, TEST_PER_CLASS = 6, 2
DIGITS_TRAIN, DIGITS_TEST = 400, 200
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


def write_mtil(folder: Path) -> None:
    """Write the whole edition; two calls write the same bytes."""
    for name, seat in SEATS.items():
        symbols = [symbol for symbol in held_out_symbols() if seat.holds(symbol)]
        seat.write(folder, drawn(symbols, random.Random(name), TRAIN_PER_CLASS, TEST_PER_CLASS))
    layouts.write_mnist(folder, *_digits())
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS)
    templates = dict.fromkeys(SEATS, TEMPLATES) | {"MNIST": ("digit {}", "{}", "a {}", "a drawing of {}")}
    write_edition(folder, templates=templates, training=TRAINING)


def _digits() -> tuple[Labelled, Labelled]:
    """Dark-on-light 8 x 8 scans turned into MNIST's light-on-dark 28 x 28."""
    scans, labels = load_digits(return_X_y=True)
    small = (scans.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = np.stack([np.asarray(Image.fromarray(scan).resize((28, 28), Image.Resampling.BICUBIC)) for scan in small])
    order = np.random.default_rng(0).permutation(len(large))
    train, test = order[:DIGITS_TRAIN], order[DIGITS_TRAIN : DIGITS_TRAIN + DIGITS_TEST]
    return (large[train], labels[train]), (large[test], labels[test])
