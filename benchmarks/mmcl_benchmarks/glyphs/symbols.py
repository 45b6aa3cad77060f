"""Which symbols exist, what they are called, and which of them the pre-trained models have never seen.

``symbols.json`` fixes the world once and for all: two strings of characters, ``seen`` (used in pre-training) and
``held_out`` (never shown to a pre-trained model, in any font). It was written by ``select_symbols.py``; keeping the
file makes the split independent of the installed versions of Python and matplotlib. Unicode guarantees that the
name of a character never changes.
"""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
# Never drawn in pre-training: one sans and one serif face, so that an unseen font can be tested for every script.
HELD_OUT_FONTS = ("DejaVuSansMono-Oblique", "DejaVuSerif-BoldItalic")
PRETRAINING_FONTS = tuple(font for font in FONTS if font not in HELD_OUT_FONTS)


@dataclass(frozen=True)
class Symbol:
    """One class of the glyph world."""

    character: str
    held_out: bool

    @property
    def name(self) -> str:
        """The Unicode name in lower case: ``greek small letter alpha with tonos``."""
        return unicodedata.name(self.character).lower()

    @property
    def script(self) -> str:
        """First word of the name, which groups symbols into scripts and blocks: ``greek``, ``braille``, ``domino``."""
        return self.name.split()[0]


@cache
def symbols() -> tuple[Symbol, ...]:
    """All symbols of the world, ordered by code point."""
    world = json.loads(files(__package__).joinpath("symbols.json").read_text(encoding="ascii"))
    held_out = set(world["held_out"])
    return tuple(Symbol(c, c in held_out) for c in sorted(world["seen"] + world["held_out"], key=ord))


def seen_symbols() -> Sequence[Symbol]:
    """The symbols that models were pre-trained on."""
    return [symbol for symbol in symbols() if not symbol.held_out]


def held_out_symbols() -> Sequence[Symbol]:
    """Symbols that no pre-trained model of this project has seen: the only honest ground for zero-shot claims."""
    return [symbol for symbol in symbols() if symbol.held_out]
