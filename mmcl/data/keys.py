"""Keys: where the files of rows lie below a common root, and how rows are read alike in whatever order."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mmcl.data.seeding import kept_generators, seed_generators


def places_below(files: Sequence[Path | None], root: Path | None) -> list[str | None]:
    """Each file as a path below ``root``, or below what all files have in common if they do not all lie there.

    Paths have slashes and composed letters (NFC), as one folder looks on every machine.
    """
    absolute = [None if file is None else Path(os.path.abspath(file)) for file in files]
    known = [file for file in absolute if file is not None]
    top = None if root is None else Path(os.path.abspath(root))
    if known and (top is None or not all(file.is_relative_to(top) for file in known)):
        top = Path(os.path.commonpath([file.parent for file in known]))
    return [
        None if file is None or top is None else unicodedata.normalize("NFC", file.relative_to(top).as_posix())
        for file in absolute
    ]


@contextmanager
def drawing_alike(seed: int) -> Iterator[Callable[[], None]]:
    """Gives a function after which the global generators draw the same again; they are put back in the end.

    A data set with a random transform then treats every row alike, whichever rows were read before.
    """
    with kept_generators():
        yield partial(seed_generators, seed)
