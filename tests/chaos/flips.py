"""Flips: one bit of one file of a run folder is another, as on a disk that grows old."""

import random
from pathlib import Path

from .ledger import Ledger
from .trial import COMPOSITIONS, copy_of, differences, go_on, in_child, reference, stopped


def flips(count: int, dice: random.Random, folder: Path) -> Ledger:
    """The run goes on with the numbers of an undisturbed one, or is refused in a sentence."""
    ledger = Ledger("flipped bits")
    for trial in range(count):
        strategies = COMPOSITIONS[trial % len(COMPOSITIONS)]
        expected, out = reference(folder, strategies), copy_of(stopped(folder, strategies), folder)
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.stat().st_size)
        file = dice.choice(files)
        bit = flip(file, dice)
        ending = in_child(lambda: go_on(out, strategies), folder)  # noqa: B023
        difference = "" if ending.code else differences(expected, out)
        ledger.note(f"bit {bit} of {file.relative_to(out)}", ending, difference)
    return ledger


def flip(file: Path, dice: random.Random) -> int:
    """Change one bit; which."""
    content = bytearray(file.read_bytes())
    bit = dice.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    return bit
