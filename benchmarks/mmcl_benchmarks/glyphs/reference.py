"""Reference data for embedded editions: pictures and captions of what the pre-trained models know."""

from collections.abc import Collection
from pathlib import Path

from mmcl_benchmarks.glyphs.drawing import coverage, draw
from mmcl_benchmarks.glyphs.split import TEST, Split
from mmcl_benchmarks.glyphs.symbols import PRETRAINING_FONTS, Symbol, seen_symbols


def write_reference(
    folder: Path, images: int, texts: int, split: Split = TEST, without: Collection[Symbol] = ()
) -> None:
    """``images/*.png`` and ``captions.txt`` of symbols seen in pre-training; they do not belong together.

    Args:
        folder: is made.
        images: how many.
        texts: how many.
        split: chooses the symbols.
        without: symbols that the edition itself holds.
    """
    generator = split.generator("reference")
    symbols = [
        symbol
        for symbol in seen_symbols()
        if symbol not in without and any(symbol.character in coverage(font) for font in PRETRAINING_FONTS)
    ]
    (folder / "images").mkdir(parents=True)
    for number, symbol in enumerate(generator.sample(symbols, images)):
        font = generator.choice([font for font in PRETRAINING_FONTS if symbol.character in coverage(font)])
        draw(symbol.character, font).convert("RGB").save(folder / "images" / f"{number:05d}.png")
    captions = [symbol.name for symbol in generator.sample(symbols, texts)]
    (folder / "captions.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
