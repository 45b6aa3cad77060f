"""Pixel arrays: numbers of any usual type and layout as a PIL image with eight bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcl.errors import DataError

ALLOWED = (
    "pixels [H, W], [H, W, C] or [C, H, W] with 1 to 4 channels, as bool, uint8, uint16, whole numbers from 0 to 255 "
    "or floats from 0 to 1"
)
SCALE = "Scale it, so that it is known which value is black and which is white, and say where the channels are."


def eight_bit_image(values: NDArray[Any], who: str, what: str, remedy: str = SCALE) -> Image.Image:
    """An image of mode L, LA, RGB or RGBA, by the number of channels.

    Args:
        values: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``.
        who: for the sentence of an error.
        what: what was found, with type and shape.
        remedy: what to do.

    Raises:
        DataError: if it can be seen as pixels in no way or in two.
    """
    placed = _channels_last(values)
    if placed is None:
        raise unclear(who, what, remedy)
    pixels = _eight_bits(placed)
    if pixels is None:
        raise unclear(who, f"{what}, with values {_range(values)}", remedy)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def unclear(who: str, what: str, remedy: str = SCALE) -> DataError:
    """Nobody can say what is shown."""
    return DataError(who, found=what, allowed=ALLOWED, remedy=remedy)


def _channels_last(values: NDArray[Any]) -> NDArray[Any] | None:
    """``[H, W, C]``, if there is one way to see it so, with fewer channels than rows and columns."""
    if values.ndim == 2 and values.size:
        return values[..., None]
    if values.ndim != 3 or not values.size:
        return None
    first, last = (values.shape[end] in range(1, 5) for end in (0, -1))
    placed = values if last else np.moveaxis(values, 0, -1)
    return placed if first != last and placed.shape[-1] < min(placed.shape[:2]) else None


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The same in steps of 1/255, if it is known which value is white and none lies outside."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b" or (kind, size) == ("u", 1):
        return values.astype(np.uint8) * np.uint8(255 if kind == "b" else 1)
    if (kind, size) == ("u", 2):
        return (values >> 8).astype(np.uint8)
    if kind not in "iuf":
        return None
    steps = np.rint(values.astype(np.float64) * 255) if kind == "f" else values
    return steps.astype(np.uint8) if steps.min() >= 0 and steps.max() <= 255 else None


def _range(values: NDArray[Any]) -> str:
    return f"from {values.min():g} to {values.max():g}" if values.dtype.kind in "iuf" else "that are no numbers"
