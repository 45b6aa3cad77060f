"""The fuzz campaign: ``make fuzz``, or in the folder ``tests``: ``python -m fuzz [--strings N] [--files N] ...``.

Nothing may end otherwise than taken or refused in a sentence; what is taken must be the same once it is stored.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .ledger import Ledger
from .matrices import fuzz_label_spaces, fuzz_matrices
from .options import fuzz_configurations, fuzz_options, fuzz_values
from .readers import fuzz_readers


def campaign(strings: int, files: int, numbers: int, seed: int) -> list[Ledger]:
    """All parts; a third of the strings are options, a third values and a third configurations."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            fuzz_options(strings - 2 * (strings // 3), random.Random(seed)),
            fuzz_values(strings // 3, random.Random(seed + 1)),
            fuzz_configurations(strings // 3, random.Random(seed + 2), Path(folder)),
            fuzz_readers(files, random.Random(seed + 3), Path(folder) / "data"),
            fuzz_matrices(numbers, random.Random(seed + 4)),
            fuzz_label_spaces(numbers, random.Random(seed + 5)),
        ]


def main() -> None:
    """Print what was tried and every fault; exit code 1 if there is one."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--strings", type=int, default=100_000)
    arguments.add_argument("--files", type=int, default=1_000)
    arguments.add_argument("--numbers", type=int, default=10_000, help="matrices, and as many label spaces")
    arguments.add_argument("--seed", type=int, default=0)
    began, ledgers = time.monotonic(), campaign(**vars(arguments.parse_args()))
    table = Table("part", "tried", "refused in a sentence", "faults")
    for ledger in ledgers:
        table.add_row(ledger.part, *map(str, (ledger.tried, ledger.refused, len(ledger.faults))))
    console = Console(highlight=False)
    console.print(table)
    for ledger in ledgers:
        for fault in ledger.faults[:20]:
            console.print(f"{ledger.part}: {fault}", markup=False)
    console.print(f"{time.monotonic() - began:.0f} seconds")
    sys.exit(any(ledger.faults for ledger in ledgers))


if __name__ == "__main__":
    main()
