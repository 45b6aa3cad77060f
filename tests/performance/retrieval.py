"""Memory of retrieval scores as the number of queries and items grows.

    python tests/performance/retrieval.py [N ...]

N random unit vectors ask for N others (by default 10,000, then 100,000). Printed: how much the process grew beyond the
vectors themselves, beside what the whole table of similarities would take, and the time per million similarities as a
ratio to that of the smallest N. Nothing is asserted.
"""

import resource
import sys
import time

import numpy as np

from mmcl.evaluation.retrieval import Floats, first_hits, recall, similarity_blocks

WIDTH = 128


def peak() -> float:
    """Largest size of the process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def unit(rows: Floats) -> Floats:
    """Rows of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    """Print a line per size."""
    first = 0.0
    for count in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]:
        generator = np.random.default_rng(0)
        images = unit(generator.standard_normal((count, WIDTH), dtype=np.float32))
        texts = unit(images + 0.1 * generator.standard_normal((count, WIDTH), dtype=np.float32))
        own = np.arange(count)
        held, began = peak(), time.process_time()
        ranks = first_hits(similarity_blocks(images, texts), own, own)
        cost = (time.process_time() - began) / count**2 * 1e6
        first = first or cost
        print(
            f"{count:,} x {count:,}: {peak() - held:.0f} MiB more, the table would be {4 * count**2 / 2**20:,.0f} MiB; "
            f"time per similarity {cost / first:.2f} of the smallest's; R@1 {recall(ranks, 1):.1f}"
        )


if __name__ == "__main__":
    main()
