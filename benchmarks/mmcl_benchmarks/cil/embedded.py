"""The embedded editions of the class-incremental benchmarks: symbols of the glyph world in the official layouts.

Every symbol is held out: no pre-trained model of this project has seen it in any font. No two symbols of an edition
look alike, but those of ``cub200`` are kin: a few base letters with many marks, told apart by small strokes. Test
images are drawn in fonts that the training images do not use. The validation editions have as many other symbols and
keep away from the fonts of the test editions' test images.

| benchmark | symbols | images per class |
|---|---|---|
| cifar100 | 100 | 6 training, 3 test |
| tiny-imagenet | 40 | 10 training, 4 test |
| imagenet100 | 20 | 10 training, 4 test |
| imagenet1000 | 100 | 6 training, 2 test |
| miniimagenet | 100 | 8 training, 3 test |
| cub200 | 40 | 10 training, 4 test, wider than high |
| imagenet_r | 40 | 24, four in each of six manners of drawing, in no split |

``miniimagenet`` and ``cub200`` come with session lists. The wnids begin with n9, which WordNet does not use.
``reference`` holds pictures and captions of what the pre-trained models know, for strategies that need data outside the
stream.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mmcl.streams.grouping import group_sizes
from mmcl_benchmarks.cil.layouts import (
    write_cub200,
    write_imagenet,
    write_imagenet100,
    write_imagenet_r,
    write_miniimagenet,
    write_session_lists,
    write_tiny_imagenet,
)
from mmcl_benchmarks.copies.edition import write_edition
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.glyphs import styles
from mmcl_benchmarks.glyphs.drawing import coverage, draw, jitter
from mmcl_benchmarks.glyphs.drawn import Drawn, Images
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import drawn, symbols_of
from mmcl_benchmarks.glyphs.split import TEST, Split
from mmcl_benchmarks.glyphs.styles import Style
from mmcl_benchmarks.glyphs.symbols import held_out_symbols

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

GENERA = (  # of the letters that stand for birds
    *("latin small letter a", "latin small letter l", "latin small letter o", "latin small letter u"),
    *("latin capital letter a", "latin capital letter o", "latin capital letter u"),
    *("greek small letter alpha", "greek small letter omega", "greek small letter upsilon"),
    *("greek capital letter alpha", "greek capital letter omega"),
)
RENDITIONS: Mapping[str, Style] = {  # kinds as ImageNet-R calls its files
    "cartoon": styles.flat,
    "graffiti": styles.poster,
    "painting": styles.wash,
    "sketch": styles.stroke,
    "tattoo": styles.pencil,
    "toy": styles.scene,
}
KIN = 0.01  # mean difference of two drawings above which kin are told apart


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


def write_embedded_miniimagenet(folder: Path, split: Split = TEST, classes: int = 100) -> None:
    """Symbols as miniImageNet, with the lists of its nine sessions."""
    lines = write_miniimagenet(folder, _drawings("miniimagenet", classes, 8, 3, split), _wnids(classes))
    sizes = group_sizes(classes, 8, first=classes * 3 // 5)
    write_session_lists(folder / "index_list" / "mini_imagenet", lines, sizes, split.generator("miniimagenet sessions"))
    _finish(folder, "miniimagenet", split)


def write_embedded_cub200(folder: Path, split: Split = TEST, classes: int = 40) -> None:
    """Letters with marks as CUB-200-2011, with the lists of its eleven sessions."""
    letters = [symbol for symbol in held_out_symbols() if symbol.name.partition(" with ")[0] in GENERA]
    symbols, generator = symbols_of("cub200", classes, split, among=letters, alike=KIN)
    drawings = drawn(symbols, generator, 10, 4, split)
    lines = write_cub200(folder, Drawn(drawings.names, _widened(drawings.train), _widened(drawings.test)))
    sizes = group_sizes(classes, 10, first=classes // 2)
    write_session_lists(folder / "index_list" / "cub200", lines, sizes, split.generator("cub200 sessions"))
    _finish(folder, "cub200", split)


def write_embedded_imagenet_r(folder: Path, split: Split = TEST, classes: int = 40, images: int = 4) -> None:
    """Symbols in the manners of six kinds of renditions, ``images`` of each kind, every one in a font of its own."""
    symbols, generator = symbols_of("imagenet_r", classes, split)
    renditions = []
    for symbol in symbols:
        fonts = [font for font in split.fonts if symbol.character in coverage(font)]
        renditions.append(
            {
                kind: [
                    style(jitter(draw(symbol.character, generator.choice(fonts)), generator), generator)
                    for _ in range(images)
                ]
                for kind, style in RENDITIONS.items()
            }
        )
    write_imagenet_r(folder, [symbol.name for symbol in symbols], _wnids(classes), renditions)
    _finish(folder, "imagenet_r", split)


def _widened(images: Images) -> Images:
    """The same drawings with more white on their sides, as photographs of birds are wider than high."""
    return [[_on_canvas(image) for image in of_class] for of_class in images]


def _on_canvas(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (image.width + 12, image.height), "white")
    canvas.paste(image, (6, 0))
    return canvas


def _drawings(name: str, classes: int, train: int, test: int, split: Split) -> Drawn:
    symbols, generator = symbols_of(name, classes, split)
    return drawn(symbols, generator, train, test, split)


def _finish(folder: Path, name: str, split: Split) -> None:
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    write_edition(folder, templates={name: TEMPLATES}, training=TRAINING, split=split)


def _wnids(classes: int) -> list[str]:
    return [f"n9{number:07d}" for number in range(classes)]
