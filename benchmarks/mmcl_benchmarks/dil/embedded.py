"""The embedded editions of the domain-incremental benchmarks: symbols of the glyph world in the official layouts.

Fonts alone do not make glyph-clip forget: it knows most of them. So a domain is a font and a drawing style. Every
symbol is held out: no pre-trained model of this project has seen it in any font. No two symbols of an edition look
alike.

| domain | font | style | | domain | font | style |
|---|---|---|---|---|---|---|
| clipart | DejaVu Sans Bold | flat colours | | quickdraw | DejaVu Sans Mono | outline |
| infograph | DejaVu Sans | light on dark stripes | | real | STIX | tilted, on dark noise |
| painting | DejaVu Serif | blurred on bright noise | | sketch | DejaVu Serif Italic | mirrored, hatched |

The validation editions have other symbols in other fonts, and CDDB's grids of other colours.

CORe50's eleven sessions use the same styles in turn. In CDDB the fakes of a source carry its own regular grid, as
upsampling leaves it, and its real images faintly that of the source before, as compression leaves it: a detector of
grids alone is not enough, and what gave a fake away is later a sign of the real. ``reference`` holds pictures and
captions of what the pre-trained models know, for strategies that need data outside the stream.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmcl_benchmarks.copies.edition import write_edition
from mmcl_benchmarks.dil.layouts import write_cddb, write_core50, write_domainnet
from mmcl_benchmarks.glyphs import styles
from mmcl_benchmarks.glyphs.drawing import draw, jitter
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.reference import write_reference
from mmcl_benchmarks.glyphs.sets import symbols_of
from mmcl_benchmarks.glyphs.split import TEST, VALIDATION, Split
from mmcl_benchmarks.glyphs.styles import Style
from mmcl_benchmarks.glyphs.symbols import Symbol

EDITION = "embedded-2"
REFERENCE_IMAGES, REFERENCE_TEXTS = 400, 1000
TEMPLATES = ("the symbol {}",)
TRAINING: Mapping[str, Any] = {
    "iterations": 60,
    "batch_size": 32,
    "lr": 1e-3,
    "warmup": 6,
    "label_smoothing": 0.0,
}
DOMAINS: Mapping[Split, Mapping[str, tuple[str, Style]]] = {
    TEST: {
        "clipart": ("DejaVuSans-Bold", styles.flat),
        "infograph": ("DejaVuSans", styles.poster),
        "painting": ("DejaVuSerif", styles.wash),
        "quickdraw": ("DejaVuSansMono", styles.stroke),
        "real": ("STIXGeneral", styles.scene),
        "sketch": ("DejaVuSerif-Italic", styles.pencil),
    },
    VALIDATION: {
        "clipart": ("DejaVuSans-BoldOblique", styles.flat),
        "infograph": ("DejaVuSans-Oblique", styles.poster),
        "painting": ("DejaVuSerif-Bold", styles.wash),
        "quickdraw": ("DejaVuSansMono-Bold", styles.stroke),
        "real": ("STIXGeneralBol", styles.scene),
        "sketch": ("STIXGeneralItalic", styles.pencil),
    },
}
FONTS = {split: tuple(font for font, _ in domains.values()) for split, domains in DOMAINS.items()}
TINTS: Mapping[Split, tuple[float, float, float]] = {TEST: (255.0, 0.0, 128.0), VALIDATION: (0.0, 255.0, 224.0)}
CORE50_ORDER, CORE50_TEST = (8, 2, 11, 5, 1, 9, 4, 6), (3, 7, 10)
CDDB_SOURCES: Mapping[str, tuple[str, ...]] = {  # with the object folders of those that have them
    "gaugan": ("",),
    "biggan": ("",),
    "cyclegan": ("arrows", "letters"),
    "imle": ("",),
    "deepfake": ("",),
    "crn": ("",),
    "wild": ("",),
    "glow": ("arrows", "letters"),
    "stargan_gf": ("arrows", "letters"),
    "stylegan": ("arrows", "letters"),
    "whichfaceisreal": ("",),
    "san": ("",),
}


def write_embedded_domainnet(
    folder: Path, split: Split = TEST, classes: int = 30, train: int = 6, test: int = 3
) -> None:
    """Symbols in six domains; two calls write the same bytes."""
    symbols, generator = symbols_of("domainnet", classes, split, FONTS)
    domains = {}
    for domain, (font, style) in DOMAINS[split].items():
        sides = [[_pictures(s, font, style, count, generator) for s in symbols] for count in (train, test)]
        domains[domain] = Drawn([symbol.name for symbol in symbols], *sides)
    write_domainnet(folder, domains)
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    write_edition(folder, templates={"domainnet": TEMPLATES}, training=TRAINING, split=split)


def write_embedded_core50(folder: Path, split: Split = TEST, objects: int = 10, frames: int = 6) -> None:
    """Symbols as objects, filmed in eleven sessions."""
    symbols, generator = symbols_of("core50", objects, split, FONTS)
    fonts, looks = FONTS[split], list(DOMAINS[split].values())
    sessions = {}
    for session in range(1, 12):
        font, style = fonts[session * 5 % len(fonts)], looks[session % len(looks)][1]
        sessions[session] = [_pictures(symbol, font, style, frames, generator) for symbol in symbols]
    write_core50(folder, sessions, CORE50_ORDER, CORE50_TEST)
    names = {"core50": [symbol.name for symbol in symbols]}
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    training = {**TRAINING, "iterations": 30}
    write_edition(folder, templates={"core50": TEMPLATES}, names=names, training=training, split=split)


def write_embedded_cddb(folder: Path, split: Split = TEST, train: int = 30, val: int = 15) -> None:
    """Real and fake drawings of twelve sources; sizes are per class."""
    symbols, generator = symbols_of("cddb", train + val, split, FONTS)
    fonts, tint = FONTS[split], TINTS[split]
    for number, (source, objects) in enumerate(CDDB_SOURCES.items()):
        style = (styles.flat, styles.wash)[number % 2]
        real, fake = (
            [style(jitter(draw(s.character, fonts[number % len(fonts)]), generator), generator) for s in symbols]
            for _ in ("real", "fake")
        )
        fake = [_with_grid(image, number, tint, 0.45) for image in fake]
        if number:
            real = [_with_grid(image, number - 1, tint, 0.2) for image in real]
        write_cddb(folder, source, [real[:train], fake[:train]], [real[train:], fake[train:]], objects)
    write_reference(folder / "reference", REFERENCE_IMAGES, REFERENCE_TEXTS, split)
    write_edition(folder, templates={"cddb": ("a {} drawing",)}, training=TRAINING, split=split)


def _pictures(symbol: Symbol, font: str, style: Style, count: int, generator: random.Random) -> list[Image.Image]:
    """Jittered drawings in one font and style."""
    return [style(jitter(draw(symbol.character, font), generator), generator) for _ in range(count)]


def _with_grid(image: Image.Image, number: int, tint: Sequence[float], strength: float) -> Image.Image:
    """The regular grid of the source of this number: its direction, period and colour."""
    rows, columns = np.indices((image.height, image.width))
    along: Sequence[np.ndarray[Any, Any]] = (rows, columns, rows + columns, rows - columns)
    wave = np.where(along[number % 4] % (2 + number // 4) == 0, strength, 0.0)
    colour = np.roll(tint, number % 3)
    pixels = np.asarray(image, dtype=np.float64)
    pixels = pixels + wave[..., None] * (colour - pixels)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
