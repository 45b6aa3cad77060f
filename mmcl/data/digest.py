"""Digest of a data set: which samples, in which order, with which targets and contents, wherever they lie.

Nothing is decoded for it: a file is known by its size and its first bytes, a value in memory by its content.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmcl.data.content import content_key
from mmcl.data.sample import Sample, SampleDataset
from mmcl.errors import DataError

_HEAD = 4096  # bytes of a file that are read


@runtime_checkable
class Outlined(Protocol):
    """A data set that knows its samples before it reads them."""

    def outline(self, index: int, /) -> Sample | None:
        """A sample with paths in place of what is read from files; ``None`` if only reading it tells what it is."""


def samples_digest(samples: SampleDataset) -> str:
    """Sixteen hexadecimal digits that change with the ids, the order, the targets and the contents of the samples.

    Contents that differ whenever they are read, as under a random transform, are left out, as are those of kinds that
    MMCL does not know.
    """
    digest, steady = sha256(), _is_steady(samples)
    for index in range(len(samples)):
        sample = outline_of(samples, index)
        contents = _contents(sample) if steady else ""
        digest.update(f"{sample.sample_id} {sample.target} {contents}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def outline_of(samples: SampleDataset, index: int) -> Sample:
    """A sample with paths in place of values where its data set knows that much; otherwise it is read."""
    known = samples.outline(index) if isinstance(samples, Outlined) else None
    return samples[index] if known is None else known


def _contents(sample: Sample) -> str:
    return content_key({name: _value(value) for name, value in sample.inputs.items()})


def _value(value: Any) -> Any:
    """What a file is known by; one that cannot be read is found when its sample is."""
    if not isinstance(value, Path):
        return value
    try:
        with value.open("rb") as file:
            return value.stat().st_size, file.read(_HEAD)
    except OSError:
        return None


def _is_steady(samples: SampleDataset) -> bool:
    try:
        return len(samples) == 0 or _contents(outline_of(samples, 0)) == _contents(outline_of(samples, 0))
    except DataError:
        return False
