"""Benchmark: a train and a test stream under a scenario; and BenchmarkPlugin, what an entry point provides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from avalanche.benchmarks import CLScenario, EagerCLStream

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.errors import DataError
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario


class Benchmark(CLScenario[EagerCLStream[Experience]]):
    """Streams, scenario, and what to measure. It knows no learner and no backbone.

    Args:
        name: name of the benchmark, as registered.
        edition: ``"official"``, ``"embedded"`` or whatever the folder's own metadata say; printed in every output.
        scenario: what is known at test time.
        experiences: in training order.
        objective: name of the training objective.
        metric: name of the primary metric.
        training: benchmark defaults for fields of ``TrainingConfig``.
        reference: reference images and texts outside the stream, if there are any.
        metadata: facts for the report, such as split convention and digest.

    Raises:
        DataError: if there is no experience, names or class ids clash, or the scenario's promises are broken.
    """

    def __init__(
        self,
        *,
        name: str,
        edition: str,
        scenario: Scenario,
        experiences: Sequence[ExperienceData],
        objective: str = "classification",
        metric: str = "accuracy",
        training: Mapping[str, Any] | None = None,
        reference: ReferenceData | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        _check_promises(name, scenario, experiences)
        self.name = name
        self.edition = edition
        self.scenario = scenario
        self.experiences = tuple(experiences)
        self.objective = objective
        self.metric = metric
        self.training = dict(training or {})
        self.reference = reference
        self.metadata = dict(metadata or {})
        super().__init__(
            [
                EagerCLStream("train", [Experience(data, data.train, i) for i, data in enumerate(experiences)]),
                EagerCLStream("test", [Experience(data, data.test, i) for i, data in enumerate(experiences)]),
            ]
        )

    @property
    def train(self) -> Sequence[Experience]:
        """The training stream."""
        stream: Sequence[Experience] = self.streams["train"]
        return stream

    @property
    def test(self) -> Sequence[Experience]:
        """The test stream, aligned with the training stream."""
        stream: Sequence[Experience] = self.streams["test"]
        return stream

    def with_experience(self, added: ExperienceData) -> "Benchmark":
        """The same benchmark with one more experience at the end."""
        return Benchmark(
            name=self.name,
            edition=self.edition,
            scenario=self.scenario,
            experiences=(*self.experiences, added),
            objective=self.objective,
            metric=self.metric,
            training=self.training,
            reference=self.reference,
            metadata=self.metadata,
        )

    @property
    def label_space(self) -> LabelSpace:
        """All classes of the stream."""
        space = LabelSpace()
        for data in self.experiences:
            space = space.union(data.label_space)
        return space

    @property
    def modalities(self) -> frozenset[str]:
        """All modalities that occur in the stream."""
        return frozenset().union(*(data.modalities for data in self.experiences))


class BenchmarkPlugin(ABC):
    """What an entry point of group ``mmcl.benchmarks`` names: a keyword-only dataclass whose fields are the options.

    Every plugin of this project has at least ``data_root``, ``embedded`` and ``experiences``. Compositions are checked
    against what it declares before its data are read.

    Attributes:
        name: as registered.
        scenario: what is known at test time.
        modalities: what its samples may have.
    """

    name: ClassVar[str]
    scenario: ClassVar[Scenario]
    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE})

    @abstractmethod
    def build(self) -> Benchmark:
        """Read the data and return the benchmark. Never downloads unless an option says so."""


@dataclass(frozen=True)
class _Promise:
    holds: bool
    found: str
    allowed: str
    remedy: str


def _check_promises(name: str, scenario: Scenario, experiences: Sequence[ExperienceData]) -> None:
    names = [data.name for data in experiences]
    repeated = sorted({n for n in names if names.count(n) > 1})
    spaces = [set(data.label_space.ids) for data in experiences]
    promises = [
        _Promise(bool(experiences), "it has no experience", "at least one experience", "Check the data folder."),
        _Promise(
            not repeated,
            f"experiences share the names {repeated}",
            "a unique name for every experience",
            "Rename them: names label the rows and columns of the result matrix.",
        ),
    ]
    if scenario.label_space_at_test == "shared":
        odd = [(n, sorted(space ^ spaces[0])) for n, space in zip(names, spaces, strict=True) if space != spaces[0]]
        promises.append(
            _Promise(
                not odd,
                f"the label spaces differ: {odd[:3]} against {names[0] if names else ''!r}",
                f"one shared label space in scenario {scenario.name}",
                "Map the labels to common classes or choose scenario CIL or TIL.",
            )
        )
    if not scenario.modalities_change:
        kinds = {data.modalities for data in experiences}
        promises.append(
            _Promise(
                len(kinds) <= 1,
                f"the modalities differ between experiences: {sorted(map(sorted, kinds))}",
                f"the same modalities everywhere in scenario {scenario.name}",
                "Choose scenario MDTIL for streams whose modalities change.",
            )
        )
    for promise in promises:
        if not promise.holds:
            raise DataError(f"benchmark {name!r}", found=promise.found, allowed=promise.allowed, remedy=promise.remedy)
