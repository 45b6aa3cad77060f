"""Former benchmark: image folders, an experience each; the embedded edition draws coloured shapes.

Source: an example to start from. Name the paper, the owner of the data and their licence.
Scenario: CIL. At test time nothing but the image is known; all classes seen so far compete.
Protocol: learn one experience after the other; before the first and after each, evaluate on all.
Data: ``--data-root`` holds EXPERIENCE/CLASS/IMAGE, optionally with ``train`` and ``test`` below each experience; they
are learned in alphabetical order. ``--embedded`` writes the shapes in the same layout into the cache.
Deviations: none. Say what differs from the paper, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from former_shapes import EDITION, write_shapes

from mmcl.data.cache import materialise
from mmcl.data.folder import folder_experience
from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError, DataError
from mmcl.options import Count
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, Scenario

TRAINING: Mapping[str, Any] = {"iterations": 100, "batch_size": 16, "lr": 1e-4}


@dataclass(kw_only=True)
class FormerBenchmark(BenchmarkPlugin):
    """Folders of images, learned in alphabetical order."""

    name: ClassVar[str] = "former-benchmark"
    scenario: ClassVar[Scenario] = CIL
    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE})

    data_root: str | None = None  # folder with a folder per experience
    embedded: bool = False  # the edition that this package draws
    experiences: Count | None = None  # only the first ones

    def build(self) -> Benchmark:
        """Read the file lists; nothing is fetched.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if the folder is missing or holds fewer experiences.
        """
        root = self._root()
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        wanted = len(folders) if self.experiences is None else self.experiences
        if wanted > len(folders):
            raise DataError(
                f"benchmark 'former-benchmark' in {root}",
                found=f"{len(folders)} experiences",
                allowed=f"at least the {wanted} of the option 'experiences'",
                remedy="Choose fewer experiences or complete the data.",
            )
        data, first_id = [], 0
        for task_id, folder in enumerate(folders[:wanted]):
            data.append(folder_experience(folder, first_id, task_id))
            first_id += len(data[-1].label_space)
        return Benchmark(
            name=self.name,
            edition="embedded" if self.embedded else "official",
            scenario=self.scenario,
            experiences=data,
            training=TRAINING,
            metadata={"samples": {d.name: [len(d.train), len(d.test)] for d in data}},
        )

    def _root(self) -> Path:
        if self.embedded == (self.data_root is not None):
            raise ConfigError(
                "benchmark 'former-benchmark'",
                found="both --embedded and --data-root" if self.embedded else "neither --embedded nor --data-root",
                allowed="one of them",
                remedy="Use --embedded for the small edition that comes with the package.",
            )
        if self.data_root is None:
            return materialise(f"former-benchmark-{EDITION}", write_shapes)
        root = Path(self.data_root)
        if not root.is_dir():
            raise DataError(
                f"data root {root}",
                found="no such folder",
                allowed="a folder with one folder per experience",
                remedy="Correct --data-root, or use --embedded.",
            )
        return root
