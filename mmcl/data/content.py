"""Content: what tells one row of a data set from another, wherever it lies and whatever comes before it."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcl.errors import DataError

_BYTE_ORDER = "<"


def content_key(values: Any) -> str:
    """Equal for equal values and different for others, on every machine: a digest of 64 hexadecimal digits.

    A picture is its mode, size, pixels and palette, not its file; an array or tensor its type, shape and numbers.

    Args:
        values: a PIL image, array, tensor, text, bytes, number, boolean or ``None``, or mappings and sequences
            of them; the order of a mapping is nothing.

    Raises:
        DataError: if there is something else among them.
    """
    digest = sha256()
    for part in _parts(values):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """The value as pieces of bytes, each kind under a name of its own."""
    if isinstance(value, Image.Image):
        yield from _texts("picture", value.mode, value.size, value.getpalette(), value.info.get("transparency"))
        yield value.tobytes()
    elif isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield from _texts("array", str(value.dtype).removeprefix("torch."), tuple(value.shape))
        yield flat.view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield from _texts("array", value.dtype.name, value.shape)
        yield value.astype(value.dtype.newbyteorder(_BYTE_ORDER)).tobytes()
    elif isinstance(value, np.generic):
        yield from _parts(value.item())
    elif isinstance(value, bytes):
        yield from (b"bytes", value)
    elif value is None or isinstance(value, (str, bool, int, float)):
        yield from _texts(type(value).__name__, value)
    elif isinstance(value, Mapping):
        yield from _texts("mapping", len(value))
        for key in sorted(value, key=str):
            yield from _texts(key)
            yield from _parts(value[key])
    elif isinstance(value, (Sequence, np.ndarray)):
        yield from _texts("sequence", len(value))
        for item in value:
            yield from _parts(item)
    else:
        raise DataError(
            f"value of type {type(value).__name__}",
            found="nothing that one row could be told from another by",
            allowed="pictures, arrays, tensors, texts, numbers, and lists or dictionaries of them",
            remedy="Turn it into an array or a tensor in the data set.",
        )


def _texts(*facts: object) -> Iterator[bytes]:
    return (str(fact).encode("utf-8", "surrogatepass") for fact in facts)
