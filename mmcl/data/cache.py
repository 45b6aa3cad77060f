"""The cache folder, and how an embedded edition gets into it exactly once."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmcl.durable import flush, flush_tree
from mmcl.errors import DataError
from mmcl.file_lock import acquired


def cache_dir() -> Path:
    """``$MMCL_CACHE``, else ``$XDG_CACHE_HOME/mmcl``, else ``~/.cache/mmcl``; never a folder of the user's data."""
    if "MMCL_CACHE" in os.environ:
        return Path(os.environ["MMCL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mmcl"


def materialise(name: str, write: Callable[[Path], None]) -> Path:
    """The folder ``cache_dir()/name``; on first use ``write`` fills it.

    The folder appears complete or not at all: it is written beside its place, flushed and then renamed. One process
    writes, others wait for it; what one that was killed has left is removed. ``name`` carries the version of the
    writer.

    Raises:
        DataError: if the cache folder cannot be written.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    draft, lock = folder.with_name(f".{name}-new"), folder.with_name(f".{name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with acquired(lock):
            if not folder.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                write(draft)
                flush_tree(draft)
                draft.rename(folder)
                flush(folder.parent)
            with suppress(OSError):  # Windows removes it itself
                lock.unlink()
    except OSError as error:
        raise DataError(
            f"cache folder {folder.parent}",
            found=f"the edition {name} cannot be written there ({error})",
            allowed="a writable folder with free space",
            remedy="Free space or change permissions, or name another folder in the environment variable MMCL_CACHE.",
        ) from error
    return folder
