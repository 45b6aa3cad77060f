"""Inspection: every sample of a benchmark read once, and everything that is wrong said at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mmcl.build import benchmark_plugin
from mmcl.config import PluginConfig
from mmcl.data.faults import Fault, faults_of
from mmcl.data.sample import SampleDataset
from mmcl.errors import DataError

_AT_ONCE = 256  # samples that are asked for before the first answer is waited for


@dataclass(frozen=True)
class Part:
    """The training or the test samples of one experience, or the reference images."""

    name: str
    samples: SampleDataset


def parts_of(config: PluginConfig) -> list[Part] | Fault:
    """What there is to read; or what is wrong if not even that can be found out.

    Raises:
        ConfigError: if there is no such benchmark, or its options are wrong.
    """
    try:
        benchmark = benchmark_plugin(config).build()
    except DataError as error:
        return Fault(error.who, f"{error.found}. Allowed: {error.allowed}. {error.remedy}")
    parts = [Part(f"{data.name}, training", data.train) for data in benchmark.experiences]
    parts += [Part(f"{experience.name}, test", experience.samples) for experience in benchmark.test]
    if benchmark.reference is not None:
        parts.append(Part("reference images", benchmark.reference.images))
    return parts


def inspect(part: Part) -> Iterator[list[Fault]]:
    """What is wrong with each sample, in order; several are read at once."""
    total = len(part.samples)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, total, _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, total))
            yield from pool.map(lambda index: faults_of(part.samples, index), some)
