"""Draw symbols: one grey image per symbol and font, plus small random placement for repeated drawings."""

import random
from functools import cache
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

CANVAS = 32
_FONT_SIZE = 24
_BASELINE = 23


def font_path(font: str) -> Path:
    """The TrueType file of ``font`` inside the installed matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"


@cache
def coverage(font: str) -> frozenset[str]:
    """The characters that ``font`` draws."""
    with TTFont(font_path(font), lazy=True) as table:
        return frozenset(map(chr, table.getBestCmap()))


@cache
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(font)), size, layout_engine=ImageFont.Layout.BASIC)


def draw(character: str, font: str) -> Image.Image:
    """Black on white, 32 x 32 grey pixels; centred sideways, on a fixed baseline (a comma stays below an apostrophe).

    Symbols too large for the canvas are drawn smaller until they fit.
    """
    size = _FONT_SIZE
    left, top, right, bottom = _face(font, size).getbbox(character, anchor="ls")
    while size > 8 and (right - left > CANVAS or bottom - top > CANVAS):
        size -= 1
        left, top, right, bottom = _face(font, size).getbbox(character, anchor="ls")
    baseline = min(max(_BASELINE, -top), CANVAS - max(bottom, 0)) if bottom - top <= CANVAS else _BASELINE
    image = Image.new("L", (CANVAS, CANVAS), 255)
    ImageDraw.Draw(image).text(
        ((CANVAS - (right + left)) / 2, baseline), character, fill=0, font=_face(font, size), anchor="ls"
    )
    return image


def jitter(image: Image.Image, generator: random.Random) -> Image.Image:
    """A second drawing of the same symbol: turned by up to 6 degrees, moved by up to 2 pixels, scaled by up to 8 %."""
    angle, scale = generator.uniform(-6, 6), generator.uniform(0.92, 1.08)
    dx, dy = generator.randint(-2, 2), generator.randint(-2, 2)
    size = round(CANVAS * scale)
    turned = image.resize((size, size), Image.Resampling.BILINEAR).rotate(
        angle, Image.Resampling.BILINEAR, fillcolor=255, translate=(dx, dy)
    )
    canvas = Image.new("L", (CANVAS, CANVAS), 255)
    canvas.paste(turned, ((CANVAS - size) // 2, (CANVAS - size) // 2))
    return canvas
