"""The class orders of the protocol: a fixed list for CIFAR-100, seeded shuffles for the rest."""

import random

import numpy as np

# the order of DER and DyTox, which no simple seed gives
# fmt: off
CIFAR100_ORDER = (
    87, 0, 52, 58, 44, 91, 68, 97, 51, 15, 94, 92, 10, 72, 49, 78, 61, 14, 8, 86,
    84, 96, 18, 24, 32, 45, 88, 11, 4, 67, 69, 66, 77, 47, 79, 93, 29, 50, 57, 83,
    17, 81, 41, 12, 37, 59, 25, 20, 80, 73, 1, 28, 6, 46, 62, 82, 53, 9, 31, 75,
    38, 63, 33, 74, 27, 22, 36, 3, 16, 21, 60, 19, 70, 90, 89, 43, 5, 42, 65, 76,
    40, 30, 23, 85, 2, 95, 56, 48, 71, 64, 98, 13, 99, 7, 34, 55, 54, 26, 35, 39,
)
# fmt: on


def tiny_imagenet_order(classes: int) -> list[int]:
    """What Python's ``random.shuffle`` makes of ``range(classes)`` after ``random.seed(0)``."""
    order = list(range(classes))
    random.Random(0).shuffle(order)
    return order


def imagenet_order(classes: int) -> list[int]:
    """NumPy's legacy permutation with seed 1993."""
    order: list[int] = np.random.RandomState(1993).permutation(classes).tolist()
    return order
