"""The embedded editions of the class-incremental benchmarks: symbols of the glyph world in the official layouts.

Every symbol is held out: no pre-trained model of this project has seen it in any font. No two symbols of an edition
look alike. Test images are drawn in fonts that the training images do not use. The validation editions have as many
other symbols and keep away from the fonts of the test editions' test images.

| benchmark | symbols | images per class |
|---|---|---|
| cifar100 | 100 | 6 training, 3 test |
| tiny-imagenet | 40 | 10 training, 4 test |
| imagenet100 | 20 | 10 training, 4 test |
| imagenet1000 | 100 | 6 training, 2 test |

The wnids begin with n9, which WordNet does not use. ``reference`` holds pictures and captions of what the pre-trained
models know, for strategies that need data outside the stream.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcl_benchmarks.cil.layouts import write_imagenet, write_imagenet100, write_tiny_imagenet
from mmcl_benchmarks.copies.edition import write_edition
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import drawn, symbols_of
from mmcl_benchmarks.glyphs.split import TEST, Split

EDITION = "embedded-3"
REFERENCE_IMAGES, REFERENCE_TEXTS = 400, 1000
TEMPLATES = ("the symbol {}",)
TRAINING: Mapping[str, Any] = {
    "iterations": 20,
    "batch_size": 32,
    "lr": 1e-3,
    "warmup": 2,
    "label_smoothing": 0.0,
}


def write_embedded_cifar100(folder: Path, split: Split = TEST) -> None:
    """A hundred symbols as CIFAR-100's three pickles; two calls write the same bytes."""
    write_cifar100(folder, _drawings("cifar100", 100, 6, 3, split))
    _finish(folder, "cifar100", split)


def write_embedded_tiny_imagenet(folder: Path, split: Split = TEST, classes: int = 40) -> None:
    """Symbols as Tiny ImageNet; ``wnids.txt`` is not sorted, as in the official copy."""
    wnids = _wnids(classes)
    listed = random.Random("wnids.txt").sample(wnids, classes)
    write_tiny_imagenet(folder, _drawings("tiny-imagenet", classes, 10, 4, split), wnids, listed)
    _finish(folder, "tiny-imagenet", split)


def write_embedded_imagenet100(folder: Path, split: Split = TEST, classes: int = 20) -> None:
    """Symbols as ImageNet with the two lists."""
    write_imagenet100(folder, _drawings("imagenet100", classes, 10, 4, split), _wnids(classes))
    _finish(folder, "imagenet100", split)


def write_embedded_imagenet1000(folder: Path, split: Split = TEST, classes: int = 100) -> None:
    """Symbols in ImageNet's folders, named in ``LOC_synset_mapping.txt``."""
    write_imagenet(folder, _drawings("imagenet1000", classes, 6, 2, split), _wnids(classes))
    _finish(folder, "imagenet1000", split)


def _drawings(name: str, classes: int, train: int, test: int, split: Split) -> Drawn:
    symbols, generator = symbols_of(name, classes, split)
    return drawn(symbols, generator, train, test, split)


def _finish(folder: Path, name: str, split: Split) -> None:
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    write_edition(folder, templates={name: TEMPLATES}, training=TRAINING, split=split)


def _wnids(classes: int) -> list[str]:
    return [f"n9{number:07d}" for number in range(classes)]
