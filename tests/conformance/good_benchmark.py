"""Plain images, an experience a colour.

Source: made up here.
Scenario: CIL. All classes seen so far compete.
Protocol: learn one experience after the other.
Data: ``data_root`` holds EXPERIENCE/SIDE/CLASS/IMAGE.
Deviations: none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from mmcl.data.cache import materialise
from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder import folder_experience
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Sample, SampleDataset
from mmcl.errors import ConfigError, DataError
from mmcl.options import Count
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, Scenario

EXPERIENCES: Mapping[str, tuple[str, ...]] = {"a": ("dim", "red"), "b": ("green", "teal"), "c": ("blue", "violet")}


def write(root: Path) -> None:
    """The official layout."""
    for first, (name, classes) in enumerate(EXPERIENCES.items()):
        for second, label in enumerate(classes):
            for third, side in enumerate(("train", "test")):
                folder = root / name / side / label
                folder.mkdir(parents=True)
                for number in range(3):
                    random = np.random.default_rng([first, second, third, number])
                    pixels = random.integers(60 * first, 60 * first + 40, (8, 8, 3)).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")


def root_of(plugin: Any) -> Path:
    """Where the data are.

    Raises:
        ConfigError, DataError: if that cannot be said.
    """
    if plugin.embedded == (plugin.data_root is not None):
        raise ConfigError("colours", found="no choice or two", allowed="one source", remedy="Choose one.")
    if plugin.embedded:
        return materialise(f"{type(plugin).__name__}-1", write)
    if not Path(plugin.data_root).is_dir():
        raise DataError(
            f"data root {plugin.data_root}", found="no such folder", allowed="the images", remedy="Correct it."
        )
    return Path(plugin.data_root)


def experiences_of(plugin: Any, root: Path) -> list[ExperienceData]:
    """As many as are wanted.

    Raises:
        ConfigError: if there are not so many.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    wanted = len(folders) if plugin.experiences is None else plugin.experiences
    if not 1 <= wanted <= len(folders):
        raise ConfigError("colours.experiences", found=f"{wanted}", allowed="1 to 3", remedy="Choose one of these.")
    return [folder_experience(folder, 2 * index, index) for index, folder in enumerate(folders[:wanted])]


def build(plugin: Any, **options: Any) -> Benchmark:
    """The stream."""
    settings = {
        "name": plugin.name,
        "edition": "embedded" if plugin.embedded else "official",
        "scenario": plugin.scenario,
        "training": {"iterations": 2},
    }
    if "experiences" not in options:
        options["experiences"] = experiences_of(plugin, root_of(plugin))
    return Benchmark(**{**settings, **options})


@dataclass(kw_only=True)
class GoodBenchmark(BenchmarkPlugin):
    """Images of six colours."""

    name: ClassVar[str] = "colours"
    scenario: ClassVar[Scenario] = CIL
    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE})

    data_root: str | None = None  # folder with a folder per experience
    embedded: bool = False  # the edition that is made up here
    experiences: Count | None = None  # only the first ones

    def build(self) -> Benchmark:
        images = experiences_of(self, root_of(self))[0].test
        return build(self, reference=ReferenceData(_Inverted(images), ["a colour"]))


def plugin(build: Callable[[Any], Benchmark], **facts: Any) -> type:
    """A plugin class like the good one that builds otherwise."""
    names = ("data_root", "embedded", "experiences")
    namespace = {
        "__module__": __name__,
        "__doc__": GoodBenchmark.__doc__,
        "__annotations__": {name: GoodBenchmark.__annotations__[name] for name in names},
        **{name: getattr(GoodBenchmark, name) for name in (*names, "name", "scenario", "modalities")},
        "build": lambda self: build(self),
        **facts,
    }
    namespace["__annotations__"] = {n: t for n, t in namespace["__annotations__"].items() if namespace[n] is not ...}
    namespace = {name: value for name, value in namespace.items() if value is not ...}
    return dataclass(kw_only=True)(type(build.__name__, (BenchmarkPlugin,), namespace))


class Mapped:
    """Samples after a change; a class of its own, so that worker processes can receive it."""

    def __init__(self, samples: SampleDataset, change: Callable[[Sample, int], Sample]) -> None:
        self.samples, self.change = samples, change

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.change(self.samples[index], index)


class _Inverted:
    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        return replace(sample, inputs={IMAGE: Image.eval(sample.inputs[IMAGE], lambda value: 255 - value)})
