"""The chaos campaign: ``make chaos``, or in the folder ``tests``: ``python -m chaos [--kills N] [--flips N] ...``.

Whatever is done to a run, it ends with the numbers of an undisturbed one, or is refused in a sentence where files are
damaged for good.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from .damages import damages
from .flips import flips
from .kills import kills
from .ledger import SAME, SENTENCE, Ledger
from .pairs import pairs
from .power import cuts


def campaign(counts: dict[str, int], seed: int) -> list[Ledger]:
    """All parts, each with dice of its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        return [
            *kills(counts["kills"], random.Random(seed), folder),
            cuts(counts["cuts"], random.Random(seed + 1), folder),
            flips(counts["flips"], random.Random(seed + 2), folder),
            damages(counts["damages"], random.Random(seed + 3), folder),
            pairs(counts["pairs"], random.Random(seed + 4), folder),
        ]


def main() -> None:
    """Print what was done and every fault; exit code 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("kills", 300), ("cuts", 40), ("flips", 200), ("damages", 400), ("pairs", 20)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seed", type=int, default=0)
    counts = vars(parser.parse_args())
    torch.set_num_threads(1)
    began, ledgers = time.monotonic(), campaign(counts, counts.pop("seed"))
    table = Table("part", "tried", SAME, SENTENCE, "faults")
    for ledger in ledgers:
        good = (ledger.outcomes[SAME], ledger.outcomes[SENTENCE])
        table.add_row(ledger.part, *map(str, (ledger.tried, *good, len(ledger.faults))))
    console = Console(highlight=False)
    console.print(table)
    for ledger in ledgers:
        if ledger.skipped:
            console.print(f"{ledger.part} were skipped: {ledger.skipped}", markup=False)
        for fault in ledger.faults[:20]:
            console.print(f"{ledger.part}: {fault}", markup=False)
    console.print(f"{time.monotonic() - began:.0f} seconds")
    sys.exit(any(ledger.faults for ledger in ledgers))


if __name__ == "__main__":
    main()
