"""Check before training that every file of a stream can be decoded, so that no run dies on its ninth data set."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from mmcl.data.cache import cache_dir
from mmcl.data.sample import SampleDataset


def check_readable(data_sets: Iterable[SampleDataset]) -> None:
    """Read every sample once. Data sets that passed before and have not changed on disk are not read again.

    Raises:
        DataError: from the first sample that cannot be read; the sentence names its file.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for samples in data_sets:
            marker = _marker(samples)
            if marker is not None and marker.exists():
                continue
            for _ in pool.map(samples.__getitem__, range(len(samples))):
                pass
            if marker is not None:
                with suppress(OSError):  # a cache that cannot be written means to read again next time
                    marker.parent.mkdir(parents=True, exist_ok=True)
                    marker.touch()


def _marker(samples: SampleDataset) -> Path | None:
    """A file in the cache that stands for these files in this state; ``None`` if not every sample has a file."""
    digest = sha256()
    for line in _states(samples):
        if line is None:
            return None
        digest.update(line.encode())
    return cache_dir() / "readable" / digest.hexdigest()


def _states(samples: SampleDataset) -> Iterator[str | None]:
    path_of = getattr(samples, "path", None)
    for index in range(len(samples)):
        path = path_of(index) if path_of is not None else None
        if path is None or not path.is_file():
            yield None
            return
        state = path.stat()
        yield f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns}\n"
