"""Durable: files that are there in full when the power fails, or are still what they were."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_AT_ONCE = 32


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # Windows has no such call; it keeps the names in its journal
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # some network file systems cannot flush a folder
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Have everything in a folder written to the disk: files first, then the folders that name them."""
    places = list(os.walk(folder, topdown=False))
    # file systems write what they are asked for at the same time in one go: thousands of files take as long as a few
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(flush, [Path(place, name) for place, _, files in places for name in files]))
    for place, _, _ in places:
        flush(Path(place))


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that their names survive."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush(folder.parent)


def draft_of(target: Path) -> Path:
    """Where a file is written before it takes its place."""
    return target.with_name(f".{target.name}.new")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file to write, which takes the place of another in one step when it is complete."""
    draft = draft_of(target)
    yield draft
    flush(draft)
    os.replace(draft, target)
    flush(target.parent)
