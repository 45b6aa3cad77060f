"""Shots: a few samples of every class, drawn by a generator."""

import random

from mmcl_benchmarks.formats.labelled import Side


def few(side: Side, shots: int, generator: random.Random) -> Side:
    """So many samples of every class, or all where there are fewer, in the order of the data set."""
    of_class: dict[int, list[int]] = {}
    for position, label in enumerate(side.labels):
        of_class.setdefault(label, []).append(position)
    drawn = (generator.sample(positions, min(shots, len(positions))) for _, positions in sorted(of_class.items()))
    return side.part(sorted(position for positions in drawn for position in positions))
