"""Claims: a run folder that one process writes to, from the first look at it to the last file."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmcl.durable import make_folder
from mmcl.errors import CheckpointError
from mmcl.lock import exclusive
from mmcl.run_folder import RunFolder


@contextmanager
def claimed(path: Path) -> Iterator[RunFolder]:
    """An empty folder for a new run. It is removed at the end if the run has not begun, because it was refused.

    Raises:
        CheckpointError: if the folder holds anything, cannot be written, or is another process's.
    """
    folder = RunFolder(path)
    _require_vacant(folder)
    with folder.writing():
        make_folder(path)
    try:
        with exclusive(path):
            _require_vacant(folder)  # another process may have begun since
            try:
                yield folder
            finally:
                if not folder.has_begun:
                    folder.vacate()
    finally:
        with suppress(OSError):
            path.rmdir()


@contextmanager
def held(path: Path, trust: bool = False) -> Iterator[RunFolder]:
    """An existing run to go on with, from its newest intact checkpoint.

    Args:
        path: the run folder.
        trust: whether code that it names may run, although nobody has registered it (``mmcl.trust``).

    Raises:
        CheckpointError: if there is none, it is another process's, or no checkpoint is intact.
    """
    folder = RunFolder.open(path, trust)
    with exclusive(path):
        folder.recover()
        yield folder


def _require_vacant(folder: RunFolder) -> None:
    if folder.has_begun:
        raise CheckpointError(
            f"output folder {folder.path}",
            found="it holds another run",
            allowed="a new or empty folder",
            remedy=f"Continue that run with 'mmcl resume {folder.path}', or choose another --out.",
        )
    if not folder.is_vacant:
        raise CheckpointError(
            f"output folder {folder.path}",
            found="it is not an empty folder",
            allowed="a new or empty folder",
            remedy="Choose another --out.",
        )
