"""Sets of drawings: images of symbols for the training and the test side of an embedded edition."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from mmcl_benchmarks.glyphs.drawing import coverage, draw, jitter
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.split import TEST, Split
from mmcl_benchmarks.glyphs.symbols import FONTS, Symbol, held_out_symbols

ALIKE = 0.03  # mean difference of two drawings, of 1, below which they look like the same symbol


def drawn(symbols: Sequence[Symbol], generator: random.Random, train: int, test: int, split: Split = TEST) -> Drawn:
    """``train`` and ``test`` images of every symbol.

    The test images are drawn in fonts that the training images do not use, those that the split has for them first; in
    the test split they are the two fonts unknown to the pre-trained models.
    """
    sides: tuple[list[list[Image.Image]], list[list[Image.Image]]] = [], []
    for symbol in symbols:
        faces = [font for font in split.fonts if symbol.character in coverage(font)]
        for_test = [font for font in faces if font in split.test_fonts] or faces[-1:]
        rest = [font for font in faces if font not in for_test]
        for side, fonts, count in zip(sides, (rest, for_test), (train, test), strict=True):
            side.append(images_of(symbol, fonts, count, generator))
    return Drawn([symbol.name for symbol in symbols], *sides)


def images_of(symbol: Symbol, fonts: Sequence[str], count: int, generator: random.Random) -> list[Image.Image]:
    """``count`` jittered drawings, each font in turn, the fonts in random order."""
    order = generator.sample(fonts, len(fonts))
    images = (draw(symbol.character, order[i % len(order)]) for i in range(count))
    return [jitter(image, generator).convert("RGB") for image in images]


def symbols_of(
    name: str,
    count: int,
    split: Split,
    fonts: Mapping[Split, Sequence[str]] | None = None,
    among: Sequence[Symbol] | None = None,
    alike: float = ALIKE,
) -> tuple[list[Symbol], random.Random]:
    """The symbols of an edition, and the generator that goes on to draw it.

    None of the validation edition is, or looks like, one of the test edition of the same name.

    Args:
        name: of the benchmark.
        count: how many.
        split: of the edition.
        fonts: split -> fonts that must have all of its symbols.
        among: what is chosen from; by default all held-out symbols.
        alike: mean difference of two drawings, of 1, up to which they are taken for the same symbol.
    """
    fonts = fonts or {}
    candidates = held_out_symbols() if among is None else among
    generator = TEST.generator(name)
    symbols = distinct_symbols(candidates, count, generator, fonts.get(TEST, ()), alike=alike)
    if split == TEST:
        return symbols, generator
    generator = split.generator(name)
    others = distinct_symbols(candidates, count, generator, fonts.get(split, ()), unlike=symbols, alike=alike)
    return others, generator


def distinct_symbols(
    candidates: Sequence[Symbol],
    count: int,
    generator: random.Random,
    fonts: Sequence[str] = (),
    unlike: Sequence[Symbol] = (),
    alike: float = ALIKE,
) -> list[Symbol]:
    """Some symbols in random order, all in ``fonts``, no two of which look alike (as Latin A and Greek Alpha do).

    None looks like one of ``unlike`` either.
    """
    drawable = [s for s in candidates if all(s.character in coverage(font) for font in fonts)]
    chosen: list[Symbol] = []
    pictures = [_picture(symbol) for symbol in unlike]
    for symbol in generator.sample(drawable, len(drawable)):
        picture = _picture(symbol)
        if all(np.abs(picture - other).mean() > alike for other in pictures):
            chosen.append(symbol)
            pictures.append(picture)
        if len(chosen) == count:
            return chosen
    raise ValueError(f"{len(chosen)} distinct symbols instead of {count}")


def _picture(symbol: Symbol) -> np.ndarray:
    """The symbol in the first font that has it, ``[H, W]`` from 0 to 1."""
    face = next(font for font in FONTS if symbol.character in coverage(font))
    return np.asarray(draw(symbol.character, face), dtype=np.float64) / 255
