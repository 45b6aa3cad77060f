"""Pixels: whatever is handed over as a picture, as RGB with eight bits. No other place decides that.

- A file is what Pillow decodes by itself, its first frame, turned as its EXIF tag says. Formats that other programs
  would have to draw (PostScript) are none.
- Sixteen bits are scaled by their full range: 65535 is white, also where a picture is darker than that.
- Wider and signed integers are pixels from 0 to 255, floats are pixels from 0 to 1, ``False`` is black. Other values
  are refused: nothing says which of them is white.
- What is transparent shows white behind it; black if nothing but white is drawn; nothing if it is transparent
  everywhere, since then the channel is empty.
- An array is ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``, with one to four channels (grey, grey and alpha, RGB, RGBA)
  that only one end can hold: at the other, and in the middle, are more.
- A tensor of floats may be a picture or ready for a model; who hands it over has to say so.
"""

import io
import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from mmcl.data.pixel_arrays import ALLOWED, eight_bit_image, unclear
from mmcl.errors import DataError

LONGEST_SIDE = 65_535  # of a picture, as in JPEG; Pillow takes memory for every line before it reads the first
# drawn by another program, handed to a plugin that nobody has, or known by their first bytes only
_FOREIGN = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
_SCALED = frozenset({"PNG", "PPM"})  # formats whose pixels have sixteen bits where Pillow's mode is I
_BITS_PER_SAMPLE = 258  # tag of TIFF
_MAYBE_READY = (
    "Leave out the data set's transform, since the backbone brings its own preprocessing; or pass ready=True if the "
    "tensors have been preprocessed exactly as the backbone wants them."
)


def is_picture_name(path: str | Path) -> bool:
    """Whether a file is called as pictures are, in upper or lower case."""
    made = Image.registered_extensions().get(Path(path).suffix.lower())
    return made in Image.OPEN and made not in _FOREIGN


def is_picture_path(value: object) -> bool:
    """Whether a value is a path: one of a file, or called as pictures are."""
    return isinstance(value, Path) or (isinstance(value, str) and (is_picture_name(value) or os.path.isfile(value)))


def open_image(path: str | Path) -> Image.Image:
    """Decode an image file completely, upright and as RGB.

    Raises:
        DataError: if it is missing, no regular file, not complete, no image, too large, or has pixels of which nothing
            says which value is white; the sentence names the path.
    """
    who = f"image {path}"
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        raise _unreadable(who, error) from error
    if not regular:
        raise DataError(
            who,
            found="a folder" if os.path.isdir(path) else "a pipe, socket or device",
            allowed="a regular file",
            remedy="Replace or remove it; nothing has been trained on it.",
        )
    return _decoded(path, who)


def as_picture(value: Any, who: str) -> Image.Image:
    """A picture of any make as a backbone's preprocessing takes it: a PIL image in RGB.

    Args:
        value: a PIL image, the path of a file, the bytes of one (also as Hugging Face's dictionary of ``bytes`` and
            ``path``), an array, nested lists of numbers, or a tensor of whole numbers.
        who: for the sentence of an error.

    Raises:
        DataError: if it is none of them, or cannot be decided.
    """
    if isinstance(value, Mapping) and value.keys() <= {"bytes", "path"}:
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, (str, Path)):
        return open_image(value)
    if isinstance(value, (bytes, bytearray)):
        return _decoded(io.BytesIO(value), who)
    if isinstance(value, Image.Image):
        return _upright_rgb(value, who)
    if isinstance(value, Tensor):
        return _rgb_of_tensor(value, who)
    if isinstance(value, (list, tuple)) or hasattr(value, "__array__"):
        try:
            pixels = np.asarray(value)
        except ValueError:  # rows of different length
            raise unclear(who, "an image that is a ragged list") from None
        what = f"an image that is an array, {pixels.dtype}{list(pixels.shape)}"
        return _upright_rgb(eight_bit_image(pixels, who, what), who)
    raise DataError(
        who,
        found=f"an image of type {type(value).__name__}",
        allowed=f"a PIL image, the path of an image file, or {ALLOWED}",
        remedy="Turn it into an array in the data set.",
    )


def _formats() -> tuple[str, ...]:
    """The formats that are decoded; other packages may have added theirs to Pillow's."""
    Image.init()
    return _trusted(tuple(Image.ID))


@lru_cache(1)
def _trusted(known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in known if name not in _FOREIGN)


def _decoded(source: str | Path | io.BytesIO, who: str) -> Image.Image:
    try:
        with Image.open(source, formats=_formats()) as image:
            if max(image.size) > LONGEST_SIDE:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            return _upright_rgb(image, who)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            who,
            found=f"it claims to be gigantic ({error})",
            allowed=f"at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, and {LONGEST_SIDE:,} a side",
            remedy="Scale it down or cut it; a file that you trust is read after PIL.Image.MAX_IMAGE_PIXELS has been "
            "raised.",
        ) from error
    except Exception as error:  # as below
        raise _unreadable(who, error) from error


def _unreadable(who: str, error: Exception) -> DataError:
    return DataError(
        who,
        found=f"it cannot be read ({error or type(error).__name__})",
        allowed="a complete image file that Pillow can decode",
        remedy="Replace or remove the file; nothing has been trained on it.",
    )


def _upright_rgb(image: Image.Image, who: str) -> Image.Image:
    try:
        image.load()  # where Pillow turns a picture itself, it does so now, and removes the tag
        orientation = _orientation(image)
        rgb = _rgb(image, who)
    except DataError:
        raise
    except Exception as error:  # a lazy image is decoded here, and decoders raise whatever damage leads them to
        raise _unreadable(f"{who}, mode {image.mode}", error) from error
    rgb.info = {}  # what it says of other pixels: a palette's transparency, a profile, the tag itself
    if orientation is not None:
        rgb.getexif()[ExifTags.Base.Orientation] = orientation
        ImageOps.exif_transpose(rgb, in_place=True)
    return rgb


def _orientation(image: Image.Image) -> int | None:
    """How the picture has to be turned, as its EXIF tag says; damaged tags say nothing."""
    try:
        said = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 decoders raise whatever damage leads them to, and the pixels may well be whole
        return None
    return said if isinstance(said, int) and 1 < said <= 8 else None


def _rgb(image: Image.Image, who: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SCALED):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return Image.fromarray((np.asarray(image) >> (bits - 8)).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return eight_bit_image(np.asarray(image), who, f"an image of mode {image.mode}").convert("RGB")
    return _behind(image) if image.has_transparency_data else image.convert("RGB")


def _behind(image: Image.Image) -> Image.Image:
    """A picture with transparency in front of what lets it be seen."""
    whole = image.convert("LA") if image.mode == "La" else image
    whole = whole.convert("RGBA")
    low, high = whole.getchannel("A").getextrema()
    if low == 255 or high == 0:
        return whole.convert("RGB")
    on_white, on_black = (
        Image.alpha_composite(Image.new("RGBA", whole.size, colour), whole).convert("RGB")
        for colour in ("white", "black")
    )
    all_white = [(whole.width * whole.height, (255, 255, 255))]
    return on_black if on_white.getcolors(1) == all_white else on_white


def _rgb_of_tensor(value: Tensor, who: str) -> Image.Image:
    what = f"an image that is a tensor, {str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if value.layout is not torch.strided or value.is_floating_point() or value.is_complex():
        raise unclear(who, what, _MAYBE_READY)
    return _upright_rgb(eight_bit_image(value.detach().cpu().numpy(), who, what, _MAYBE_READY), who)
