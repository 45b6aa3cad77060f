"""The embedded edition of P9D: products are two symbols, a large one for the category and a small one beside it.

Every industry has large symbols, a font and a drawing style of its own; the small symbols come in all of them, as
colours and sizes of products do. All symbols are held out: no pre-trained model of this project has seen them in any
font, and none of them looks like another. A title names the large symbol and then the small one, with marks and
capitals that the reader must clean. No combination of two symbols is both for training and for testing. Titles are in
words that glyph-clip can read, not in Chinese; everything else is as in the official files, the keys of the industries
too. The validation edition has other symbols in other fonts. ``reference`` holds pictures and captions of what the
pre-trained models know.
"""

import random
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from mmcl_benchmarks.copies.edition import write_edition
from mmcl_benchmarks.glyphs import styles
from mmcl_benchmarks.glyphs.drawing import draw, jitter
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import symbols_of
from mmcl_benchmarks.glyphs.split import TEST, VALIDATION, Split
from mmcl_benchmarks.glyphs.styles import Style
from mmcl_benchmarks.glyphs.symbols import Symbol
from mmcl_benchmarks.p9d.layout import DrawnProduct, write_p9d

EDITION = "embedded-1"
SIZE, LARGE, SMALL = 64, 40, 30  # pixels of a picture and of its two symbols
CATEGORIES, VARIANTS = 12, 10  # large symbols of each industry, small symbols of all
COMBINATIONS: Mapping[str, int] = {"test": 2, "query": 1, "gallery": 3}  # of each category; the rest is for training
DRAWINGS = 3  # training pictures of each combination
REFERENCE_IMAGES, REFERENCE_TEXTS = 400, 1000
TRAINING: Mapping[str, Any] = {
    "iterations": 60,
    "epochs": 1,
    "batch_size": 32,
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup": 6,
}
LOOKS: Mapping[Split, Mapping[str, tuple[str, Style]]] = {
    TEST: {
        "Household": ("DejaVuSans", styles.flat),
        "Furnishings": ("DejaVuSerif", styles.wash),
        "Food": ("DejaVuSans-Bold", styles.poster),
        "Beauty": ("STIXGeneral", styles.pencil),
        "Clothing": ("DejaVuSansMono", styles.stroke),
        "Auto": ("DejaVuSansMono-Bold", styles.scene),
        "Parenting": ("DejaVuSerif-Italic", styles.flat),
        "Outdoor": ("DejaVuSans-BoldOblique", styles.wash),
        "Electronics": ("STIXGeneralBol", styles.poster),
    },
    VALIDATION: {
        "Household": ("DejaVuSans-Oblique", styles.flat),
        "Furnishings": ("DejaVuSerif-Bold", styles.wash),
        "Food": ("DejaVuSansMono-BoldOblique", styles.poster),
        "Beauty": ("DejaVuSans-Oblique", styles.pencil),
        "Clothing": ("DejaVuSerif-Bold", styles.stroke),
        "Auto": ("DejaVuSansMono-BoldOblique", styles.scene),
        "Parenting": ("DejaVuSerif-Bold", styles.flat),
        "Outdoor": ("DejaVuSansMono-BoldOblique", styles.wash),
        "Electronics": ("DejaVuSans-Oblique", styles.poster),
    },
}
FONTS = {split: sorted({font for font, _ in looks.values()}) for split, looks in LOOKS.items()}
TITLES = ("{} * {}!", "{}: {}", "{} ({})", "# {} {} ~")


def write_embedded_p9d(
    folder: Path, split: Split = TEST, categories: int = CATEGORIES, variants: int = VARIANTS
) -> None:
    """Nine industries; two calls write the same bytes."""
    looks = LOOKS[split]
    symbols, generator = symbols_of("p9d", len(looks) * categories + variants, split, FONTS)
    small, remaining = symbols[:variants], iter(symbols[variants:])
    parts: dict[str, dict[str, list[DrawnProduct]]] = {part: {} for part in ("train", *COMBINATIONS)}
    for industry, (font, style) in looks.items():
        made: dict[str, list[DrawnProduct]] = {part: [] for part in parts}
        for large in islice(remaining, categories):
            beside = generator.sample(small, len(small))
            for part, count in COMBINATIONS.items():
                made[part] += [_product(large, other, font, style, generator) for other in beside[:count]]
                beside = beside[count:]
            drawings = [other for other in beside for _ in range(DRAWINGS)]
            made["train"] += [_product(large, other, font, style, generator) for other in drawings]
        for part, products in made.items():
            parts[part][industry] = products
    write_p9d(folder, parts)
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    write_edition(folder, templates={}, training=TRAINING, split=split)


def picture(large: Symbol, small: Symbol, font: str, style: Style, generator: random.Random) -> Image.Image:
    """The large symbol to the upper left, the small one to the lower right."""
    canvas = Image.new("L", (SIZE, SIZE), 255)
    for symbol, size, corner in ((large, LARGE, (0, 0)), (small, SMALL, (SIZE - SMALL, SIZE - SMALL))):
        drawing = jitter(draw(symbol.character, font), generator).resize((size, size), Image.Resampling.BICUBIC)
        canvas.paste(drawing, corner)
    return style(canvas, generator)


def _product(large: Symbol, small: Symbol, font: str, style: Style, generator: random.Random) -> DrawnProduct:
    title = generator.choice(TITLES).format(large.name.capitalize(), small.name)
    return DrawnProduct(title, large.name, picture(large, small, font, style, generator))
