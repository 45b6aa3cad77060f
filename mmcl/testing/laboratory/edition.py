"""The embedded edition of a benchmark under examination: built into a cache of its own, and read once."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from PIL import Image
from torch import Tensor

from mmcl.data.sample import Sample, SampleDataset
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.check import NotApplicable, Subject
from mmcl.testing.laboratory.audit import Audit, audited, remove


@dataclass(frozen=True)
class Reading:
    """What one pass over a data set has shown, sample by sample.

    Attributes:
        ids: sample ids.
        targets: as they are.
        task_ids: indices of experiences.
        modalities: names of the values of each sample.
        values: digests of the values.
        oddities: what is no sample, in words.
    """

    ids: list[str] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    task_ids: list[int] = field(default_factory=list)
    modalities: list[frozenset[str]] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)


@dataclass
class Edition:
    """An embedded edition that has been built.

    Attributes:
        path: the cache that it was built into; it lasts as long as this object.
        audit: what was written and called meanwhile.
        benchmark: what came out.
        error: what was raised, if something was.
    """

    path: Path
    audit: Audit
    benchmark: Benchmark | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        """Let the cache go with the object."""
        weakref.finalize(self, remove, self.path)


def built(subject: Subject) -> Edition:
    """The embedded edition in a new cache; built once, whatever comes out."""

    def build() -> Edition:
        folder = Path(mkdtemp())
        with cache_in(folder), audited() as audit:
            edition = Edition(folder, audit)
            try:
                edition.benchmark = embedded(subject).build()
            except Exception as error:  # noqa: BLE001  the check 'embedded edition' reports it
                edition.error = error
        return edition

    return subject.once("edition", build)


def benchmark(subject: Subject) -> Benchmark:
    """What its embedded edition is.

    Raises:
        NotApplicable: if it could not be built.
    """
    found = built(subject).benchmark
    if found is None:
        raise NotApplicable("its embedded edition cannot be built (see the check 'embedded edition')")
    return found


def embedded(subject: Subject, **options: Any) -> Any:
    """A fresh plugin for the embedded edition.

    Raises:
        NotApplicable: if it has not the options that this takes.
    """
    wanted = {"embedded": True, "data_root": None, **options}
    if missing := sorted(set(wanted) - {f.name for f in fields(subject.plugin) if f.init}):
        raise NotApplicable(f"it has no option {missing[0]!r} (see the check 'usual options')")
    return subject.fresh(**wanted)


def readings(subject: Subject) -> dict[tuple[str, int], Reading]:
    """Every sample of the embedded edition, by side and experience; read once."""
    stream = benchmark(subject)
    return subject.once("readings", lambda: read_all(stream))


def read_all(stream: Benchmark) -> dict[tuple[str, int], Reading]:
    """Every sample, by side and experience."""
    return {
        (side, index): read(samples)
        for index, data in enumerate(stream.experiences)
        for side, samples in (("train", data.train), ("test", data.test))
    }


def read(samples: SampleDataset) -> Reading:
    """Every sample of a data set."""
    reading = Reading()
    for index in range(len(samples)):
        sample = samples[index]
        if not isinstance(sample, Sample):
            reading.oddities.append(f"sample {index} is a {type(sample).__name__}")
            continue
        reading.ids.append(sample.sample_id)
        reading.targets.append(sample.target)
        reading.task_ids.append(sample.task_id)
        reading.modalities.append(frozenset(sample.inputs))
        reading.values.append(digest(sample.inputs))
        if sample.finished and not all(isinstance(value, Tensor) for value in sample.inputs.values()):
            reading.oddities.append(f"sample {sample.sample_id!r} is finished, and not all its values are tensors")
        if not sample.inputs:
            reading.oddities.append(f"sample {sample.sample_id!r} has no value at all")
    return reading


def digest(inputs: Any) -> str:
    """Identifies the values of a sample."""
    found = sha256()
    for name in sorted(inputs):
        value = inputs[name]
        found.update(name.encode())
        if isinstance(value, Image.Image):
            found.update(f"{value.mode}{value.size}".encode() + value.tobytes())
        elif isinstance(value, Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
        else:
            found.update(repr(value).encode())
    return found.hexdigest()


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Let editions be written there."""
    before = os.environ.get("MMCL_CACHE")
    os.environ["MMCL_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MMCL_CACHE"]
        else:
            os.environ["MMCL_CACHE"] = before


def inventory(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }
