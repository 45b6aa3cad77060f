"""Stored JSON: how a run folder writes and reads plain values, and the sentence for whatever cannot be read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmcl.errors import CheckpointError


def dumped(content: Any) -> str:
    """JSON as it lies in a run folder."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_json(file: Path, kind: type | None = None) -> Any:
    """The content of a file.

    Args:
        file: its path.
        kind: what it must be as a whole, ``dict`` or ``list``.

    Raises:
        CheckpointError: if it is damaged.
    """
    with reading(file):
        content = json.loads(file.read_text("utf-8"))
        if kind is not None and not isinstance(content, kind):
            raise TypeError(f"it holds a {type(content).__name__} where a {kind.__name__} belongs")
        return content


@contextmanager
def reading(place: Path | str) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into a sentence.

    Raises:
        CheckpointError: naming the place.
    """
    try:
        yield
    except Exception as error:
        raise CheckpointError(
            f"{place}",
            found=f"it cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})",
            allowed="the file as the run has written it",
            remedy="Restore the folder from a backup, or run again into a new one.",
        ) from error
