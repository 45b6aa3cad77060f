"""File locks that the operating system holds, and lets go of however their process ends.

Some network file systems have no locks. There a file with the number of the process stands for one; it is recognised
as a left one on the computer that has left it, and nowhere else.
"""

import errno
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

MARKER = ".held"  # appended to the name of the lock where the file system has none

_WITHOUT_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})


def acquired(path: Path, seconds: float = -1) -> BaseFileLock:
    """A lock on a file that need not exist.

    Args:
        path: the file; its folder exists.
        seconds: how long another process is waited for; without end by default.

    Raises:
        Timeout: if another process still has it then.
        OSError: if the file cannot be made.
    """
    try:
        return _taken(FileLock(path, fallback_to_soft=False), seconds)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    path.unlink(missing_ok=True)
    return _taken(SoftFileLock(path.with_name(f"{path.name}{MARKER}")), seconds)


def _taken(lock: BaseFileLock, seconds: float) -> BaseFileLock:
    lock.acquire(timeout=seconds)
    return lock
