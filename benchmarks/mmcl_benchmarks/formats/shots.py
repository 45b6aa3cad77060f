"""Shots: a few samples of every class, drawn by a generator."""

import random
from collections.abc import Sequence

from mmcl_benchmarks.formats.labelled import Side


def few(side: Side, shots: int, generator: random.Random) -> Side:
    """So many samples of every class, or all where there are fewer, in the order of the data set."""
    return side.part(few_positions(side.labels, shots, generator))


def few_positions(labels: Sequence[int], shots: int, generator: random.Random) -> list[int]:
    """Where they are in the data set, in rising order."""
    of_class: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        of_class.setdefault(label, []).append(position)
    drawn = (generator.sample(positions, min(shots, len(positions))) for _, positions in sorted(of_class.items()))
    return sorted(position for positions in drawn for position in positions)
