"""The chaos campaign: ``make chaos``, or in the folder ``tests``: ``python -m chaos [--kills N] [--flips N] ...``.

Whatever is done to a run, it ends with the numbers of an undisturbed one, or is refused in a sentence where files are
damaged for good.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
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
from .trial import warm_up


def campaign(counts: dict[str, int], seed: int) -> Iterator[Ledger]:
    """All parts, each with dice of its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        warm_up(folder)
        yield from kills(counts["kills"], random.Random(seed), folder)
        yield cuts(counts["cuts"], random.Random(seed + 1), folder)
        yield flips(counts["flips"], random.Random(seed + 2), folder)
        yield damages(counts["damages"], random.Random(seed + 3), folder)
        yield pairs(counts["pairs"], random.Random(seed + 4), folder)


def main() -> None:
    """Print what was done and every fault; exit code 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("kills", 300), ("cuts", 40), ("flips", 200), ("damages", 400), ("pairs", 20)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seed", type=int, default=0)
    counts = vars(parser.parse_args())
    torch.set_num_threads(1)
    console, began, faults = Console(highlight=False), time.monotonic(), 0
    table = Table("part", "tried", SAME, SENTENCE, "faults")
    for ledger in campaign(counts, counts.pop("seed")):
        good = (ledger.outcomes[SAME], ledger.outcomes[SENTENCE])
        table.add_row(ledger.part, *map(str, (ledger.tried, *good, len(ledger.faults))))
        faults += len(ledger.faults)
        said = f"skipped, {ledger.skipped}" if ledger.skipped else f"{ledger.tried} tried, {len(ledger.faults)} faults"
        console.print(f"{ledger.part}: {said}, after {time.monotonic() - began:.0f} s", markup=False, soft_wrap=True)
        for fault in ledger.faults[:20]:
            console.print(f"  {fault}", markup=False, soft_wrap=True)
    console.print(table)
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
