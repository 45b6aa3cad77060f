"""Reference data for embedded editions: pictures and captions of what the pre-trained models know."""

import random
from pathlib import Path

from mmcl_benchmarks.glyphs.drawing import coverage, draw
from mmcl_benchmarks.glyphs.symbols import PRETRAINING_FONTS, seen_symbols


def write_reference(folder: Path, images: int, texts: int) -> None:
    """``images/*.png`` and ``captions.txt`` from the pre-training split; they do not belong together."""
    generator = random.Random("reference")
    symbols = [s for s in seen_symbols() if any(s.character in coverage(font) for font in PRETRAINING_FONTS)]
    (folder / "images").mkdir(parents=True)
    for number, symbol in enumerate(generator.sample(symbols, images)):
        font = generator.choice([font for font in PRETRAINING_FONTS if symbol.character in coverage(font)])
        draw(symbol.character, font).convert("RGB").save(folder / "images" / f"{number:05d}.png")
    captions = [symbol.name for symbol in generator.sample(symbols, texts)]
    (folder / "captions.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
