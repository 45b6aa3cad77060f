"""Drawing styles: one drawing of a symbol turned into another kind of picture, so that fonts and styles make domains.

Each takes a drawing, dark on light (``L``), and a generator, and returns an RGB image of the same size.
"""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Style = Callable[[Image.Image, random.Random], Image.Image]


def flat(image: Image.Image, generator: random.Random) -> Image.Image:
    """A saturated ink on a pale ground."""
    return _mixed(_ink(image), _colour(generator, 0, 110), _colour(generator, 190, 255))


def poster(image: Image.Image, generator: random.Random) -> Image.Image:
    """Light on a dark, striped ground."""
    period, shade = generator.choice((4, 5, 6)), generator.randint(50, 80)
    stripes = (np.arange(image.height)[:, None] + np.zeros(image.width)) % period < period // 2
    ground = np.where(stripes, shade, 20)[..., None] * np.ones(3)
    return _mixed(_ink(image), (255, 255, 255), ground)


def wash(image: Image.Image, generator: random.Random) -> Image.Image:
    """Blurred ink in a colour that is hardly darker than the ground, as in a wet painting."""
    soft = image.filter(ImageFilter.GaussianBlur(0.8))
    return _mixed(_ink(soft), _colour(generator, 20, 110), _noise(image, generator, 160, 255))


def stroke(image: Image.Image, generator: random.Random) -> Image.Image:
    """The outline of a symbol, without what it encloses."""
    del generator
    ink = ImageChops.invert(image)
    line = ImageChops.subtract(ink.filter(ImageFilter.MaxFilter(3)), ink.filter(ImageFilter.MinFilter(3)))
    return ImageChops.invert(line).convert("RGB")


def scene(image: Image.Image, generator: random.Random) -> Image.Image:
    """Bright ink on a dark ground of coarse noise, the camera tilted."""
    tilted = image.rotate(20, Image.Resampling.BILINEAR, fillcolor=255)
    return _mixed(_ink(tilted), _colour(generator, 200, 255), _noise(image, generator, 0, 70))


def pencil(image: Image.Image, generator: random.Random) -> Image.Image:
    """Hatched ink, mirrored as seen through the paper."""
    period = generator.choice((3, 4))
    grid = np.add.outer(np.arange(image.height), np.arange(image.width)) % period < period - 1
    return _mixed(_ink(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) * grid, (70, 70, 70), (235, 235, 225))


def _ink(image: Image.Image) -> NDArray[np.float64]:
    """How much ink every pixel holds, ``[H, W]`` from 0 to 1."""
    return 1 - np.asarray(image.convert("L"), dtype=np.float64) / 255


def _colour(generator: random.Random, low: int, high: int) -> tuple[int, int, int]:
    return generator.randint(low, high), generator.randint(low, high), generator.randint(low, high)


def _noise(image: Image.Image, generator: random.Random, low: int, high: int) -> NDArray[np.float64]:
    """Soft coloured patches ``[H, W, 3]``."""
    small = np.array([[_colour(generator, low, high) for _ in range(5)] for _ in range(5)], dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(image.size, Image.Resampling.BICUBIC), dtype=np.float64)


def _mixed(
    ink: NDArray[np.float64], colour: tuple[int, int, int], ground: tuple[int, int, int] | NDArray[np.float64]
) -> Image.Image:
    """Ink of one colour on a ground, a colour or a picture ``[H, W, 3]``."""
    share = ink[..., None]
    pixels = share * np.asarray(colour, dtype=np.float64) + (1 - share) * np.asarray(ground, dtype=np.float64)
    return Image.fromarray(pixels.round().astype(np.uint8))
