"""The two splits of the glyph world: of one the tables report, on the other settings are chosen."""

import random
from dataclasses import dataclass

from mmcl_benchmarks.glyphs.symbols import FONTS, HELD_OUT_FONTS, PRETRAINING_FONTS


@dataclass(frozen=True)
class Split:
    """Which drawings an embedded edition is made of.

    Attributes:
        suffix: of everything that is named after the split.
        fonts: in which it may be drawn.
        test_fonts: in which the test images of a symbol are drawn, as far as they have it.
    """

    suffix: str
    fonts: tuple[str, ...]
    test_fonts: tuple[str, ...]

    @property
    def edition(self) -> str:
        """The name of the edition, which every output prints."""
        return f"embedded{self.suffix}"

    def generator(self, name: str) -> random.Random:
        """Draws what has this name, in either split something else."""
        return random.Random(f"{name}{self.suffix}")


TEST = Split("", FONTS, HELD_OUT_FONTS)
VALIDATION = Split("-validation", PRETRAINING_FONTS, ("DejaVuSansMono-BoldOblique", "DejaVuSerif-Italic"))
