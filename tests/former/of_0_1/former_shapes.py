"""The embedded edition: coloured shapes of six classes, drawn from formulas, written as image folders."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

EDITION = 1  # count up whenever the images change: the cache keeps editions apart
EXPERIENCES: Mapping[str, tuple[str, ...]] = {
    "1_round": ("disc", "ring"),
    "2_square": ("diamond", "square"),
    "3_crossed": ("plus", "saltire"),
}
IMAGES = {"train": 12, "test": 6}  # of each class
SIZE = 32

# x and y are offsets from the centre, r is the radius; a pixel is lit where the formula holds
SHAPES: Mapping[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "disc": lambda x, y, r: x**2 + y**2 <= r**2,
    "ring": lambda x, y, r: (x**2 + y**2 <= r**2) & (x**2 + y**2 >= r**2 / 4),
    "diamond": lambda x, y, r: abs(x) + abs(y) <= r,
    "square": lambda x, y, r: np.maximum(abs(x), abs(y)) <= r,
    "plus": lambda x, y, r: (np.minimum(abs(x), abs(y)) <= r / 4) & (np.maximum(abs(x), abs(y)) <= r),
    "saltire": lambda x, y, r: (abs(abs(x) - abs(y)) <= r / 3) & (np.maximum(abs(x), abs(y)) <= r),
}


def mask(shape: str, centre: tuple[float, float], radius: float, size: int = SIZE) -> np.ndarray:
    """Which pixels a shape lights: ``bool[size, size]``; ``centre`` is (column, row)."""
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    lit: np.ndarray = SHAPES[shape](columns - centre[0], rows - centre[1], radius)
    return lit


def draw(shape: str, random: np.random.Generator) -> Image.Image:
    """A shape of random place, size and colour on a pale ground."""
    x, y, radius = (float(value) for value in random.uniform([12, 12, 7], [20, 20, 11]))
    colour, ground = random.integers(0, 160, 3), random.integers(200, 256, 3)
    pixels = np.where(mask(shape, (x, y), radius)[..., None], colour, ground)
    return Image.fromarray(pixels.astype(np.uint8))


def write_shapes(root: Path) -> None:
    """Write all images as EXPERIENCE/SIDE/CLASS/NUMBER.png; the same ones on every machine."""
    for first, (experience, shapes) in enumerate(EXPERIENCES.items()):
        for second, shape in enumerate(shapes):
            for third, (side, count) in enumerate(IMAGES.items()):
                folder = root / experience / side / shape
                folder.mkdir(parents=True)
                random = np.random.default_rng([first, second, third])
                for number in range(count):
                    draw(shape, random).save(folder / f"{number:02}.png")
