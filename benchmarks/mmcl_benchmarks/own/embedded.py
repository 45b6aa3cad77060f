"""The embedded edition of own data: a folder of drawn symbols, as a person might have one of pictures.

Ten held-out symbols of the glyph world, six training and three test images each. The test images are drawn in fonts
that the training images do not use.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcl_benchmarks.glyphs.drawn import numbered, slug, write_jpeg
from mmcl_benchmarks.glyphs.sets import drawn, symbols_of
from mmcl_benchmarks.glyphs.split import TEST

EDITION = "embedded-1"
CLASSES, TRAIN_IMAGES, TEST_IMAGES = 10, 6, 3
TEMPLATES = ("the symbol {}",)
TRAINING: Mapping[str, Any] = {"iterations": 20, "batch_size": 32, "lr": 1e-3, "warmup": 2}


def write_embedded_own(folder: Path) -> None:
    """Pictures as ``SIDE/CLASS/NUMBER.jpg``; two calls write the same bytes."""
    symbols, generator = symbols_of("own", CLASSES, TEST)
    drawings = drawn(symbols, generator, TRAIN_IMAGES, TEST_IMAGES)
    for side, images in (("train", drawings.train), ("test", drawings.test)):
        for number, (label, image) in enumerate(numbered(images)):
            write_jpeg(image, folder / side / slug(drawings.names[label]) / f"{number:03d}.jpg")
