"""The cache folder, and how an embedded edition gets into it exactly once."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_dir() -> Path:
    """``$MMCL_CACHE``, else ``$XDG_CACHE_HOME/mmcl``, else ``~/.cache/mmcl``; never a folder of the user's data."""
    if "MMCL_CACHE" in os.environ:
        return Path(os.environ["MMCL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mmcl"


def materialise(name: str, write: Callable[[Path], None]) -> Path:
    """The folder ``cache_dir()/name``; on first use ``write`` fills it.

    The folder appears complete or not at all: it is written beside its place and then renamed, so an interrupted or
    concurrent run never leaves half an edition. ``name`` carries the version of the writer.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
