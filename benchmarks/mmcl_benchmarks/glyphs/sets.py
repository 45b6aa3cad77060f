"""Sets of drawings: images of symbols for the training and the test side of an embedded edition."""

import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmcl_benchmarks.drawn import Drawn
from mmcl_benchmarks.glyphs.drawing import coverage, draw, jitter
from mmcl_benchmarks.glyphs.symbols import FONTS, HELD_OUT_FONTS, Symbol, held_out_symbols

_ALIKE = 0.03  # mean difference of two drawings, of 1, below which they look like the same symbol


def drawn(symbols: Sequence[Symbol], generator: random.Random, train: int, test: int) -> Drawn:
    """``train`` and ``test`` images of every symbol.

    The test images are drawn in fonts that the training images do not use, the two fonts unknown to the pre-trained
    models first.
    """
    sides: tuple[list[list[Image.Image]], list[list[Image.Image]]] = [], []
    for symbol in symbols:
        faces = [font for font in FONTS if symbol.character in coverage(font)]
        unseen = [font for font in faces if font in HELD_OUT_FONTS] or faces[-1:]
        rest = [font for font in faces if font not in unseen]
        for side, fonts, count in zip(sides, (rest, unseen), (train, test), strict=True):
            side.append(images_of(symbol, fonts, count, generator))
    return Drawn([symbol.name for symbol in symbols], *sides)


def images_of(symbol: Symbol, fonts: Sequence[str], count: int, generator: random.Random) -> list[Image.Image]:
    """``count`` jittered drawings, each font in turn, the fonts in random order."""
    order = generator.sample(fonts, len(fonts))
    images = (draw(symbol.character, order[i % len(order)]) for i in range(count))
    return [jitter(image, generator).convert("RGB") for image in images]


def distinct_symbols(count: int, generator: random.Random, fonts: Sequence[str] = ()) -> list[Symbol]:
    """Held-out symbols in random order, all in ``fonts``, no two of which look alike (as Latin A and Greek Alpha do).

    No pre-trained model of this project has seen them.
    """
    candidates = [s for s in held_out_symbols() if all(s.character in coverage(font) for font in fonts)]
    chosen: list[Symbol] = []
    pictures: list[np.ndarray] = []
    for symbol in generator.sample(candidates, len(candidates)):
        face = next(font for font in FONTS if symbol.character in coverage(font))
        picture = np.asarray(draw(symbol.character, face), dtype=np.float64) / 255
        if all(np.abs(picture - other).mean() > _ALIKE for other in pictures):
            chosen.append(symbol)
            pictures.append(picture)
        if len(chosen) == count:
            return chosen
    raise ValueError(f"{len(chosen)} distinct symbols instead of {count}")
