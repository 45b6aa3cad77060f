"""Write ``symbols.json``: choose the symbols of the glyph world and hold out 15 % of them.

    python -m mmcl_benchmarks.glyphs.select_symbols

A symbol belongs to the world if one of the sixteen text fonts draws it and it is a letter, number, sign or
punctuation mark with a name. A symbol may be held out if at least four fonts draw it and every word of its name
occurs in at least three names that stay in pre-training, so that the name can be understood from its parts.
"""

import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

from mmcl_benchmarks.glyphs.drawing import coverage
from mmcl_benchmarks.glyphs.symbols import FONTS
from mmcl_benchmarks.glyphs.words import words

HELD_OUT_SHARE = 0.15
FONTS_NEEDED = 4
NAMES_PER_WORD = 3
SEED = 0


def _named(character: str) -> bool:
    try:
        return bool(unicodedata.name(character))
    except ValueError:
        return False


def select() -> dict[str, str]:
    """``{"seen": characters, "held_out": characters}``."""
    fonts_of = Counter(character for font in FONTS for character in coverage(font))
    world = sorted(c for c in fonts_of if unicodedata.category(c)[0] in "LNSP" and _named(c))
    names_with = Counter(word for c in world for word in set(words(unicodedata.name(c))))
    candidates = [c for c in world if fonts_of[c] >= FONTS_NEEDED]
    random.Random(SEED).shuffle(candidates)
    held_out: list[str] = []
    for character in candidates:
        if len(held_out) >= HELD_OUT_SHARE * len(world):
            break
        parts = set(words(unicodedata.name(character)))
        if all(names_with[word] > NAMES_PER_WORD for word in parts):
            held_out.append(character)
            names_with.subtract(parts)
    return {"seen": "".join(c for c in world if c not in set(held_out)), "held_out": "".join(sorted(held_out))}


if __name__ == "__main__":
    chosen = select()
    Path(__file__).with_name("symbols.json").write_text(json.dumps(chosen) + "\n", encoding="ascii")
    print({name: len(characters) for name, characters in chosen.items()})
