"""Benchmark: a train and a test stream under a scenario; and BenchmarkPlugin, what an entry point provides.

The streams are avalanche's. They are made when they are first asked for, so that whoever declares a benchmark, or reads
its data only, does not import avalanche.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mmcl.data.asked import AnswerKind
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.escaping import markdown
from mmcl.evaluation.metric import Accuracy, Metric
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.objectives.classification import Classification
from mmcl.objectives.objective import Objective
from mmcl.options import check_options
from mmcl.registry import BENCHMARKS, name_of
from mmcl.signature import checked
from mmcl.streams.overview import overview
from mmcl.streams.promises import check_promises
from mmcl.streams.reading import Reading
from mmcl.streams.scenario import Scenario

if TYPE_CHECKING:
    from mmcl.streams.experience import Experience


class Benchmark:
    """Streams, scenario, and what to measure. It knows no learner and no backbone.

    Args:
        name: name of the benchmark, as registered.
        edition: ``"official"``, ``"embedded"`` or whatever the folder's own metadata say; printed in every output.
        scenario: what is known at test time.
        experiences: in training order.
        objective: what its samples are trained for; by default to be classified.
        metric: what is counted over every test set; by default accuracy, or retrieval where the answer is a partner.
        training: benchmark defaults for fields of ``TrainingConfig``.
        reference: reference images and texts outside the stream, if there are any.
        metadata: facts for the report, such as split convention and digest.
        common_test: name of the test set that all experiences share, if they do: it is one data set, the ``test`` of
            every experience, and the test stream consists of nothing else.
        remarks: what was said when it was made; a run keeps it with its results.
        read: how data that extend it are read; by default their columns have the usual names.

    Raises:
        DataError: if there is no experience, names or class ids clash, two classes of one name compete, or the
            scenario's promises are broken.
    """

    @checked
    def __init__(
        self,
        *,
        name: str,
        edition: str,
        scenario: Scenario,
        experiences: Sequence[ExperienceData],
        objective: Objective = Classification(),  # noqa: B008 - nothing in it changes
        metric: Metric | None = None,
        training: Mapping[str, Any] | None = None,
        reference: ReferenceData | None = None,
        metadata: Mapping[str, Any] | None = None,
        common_test: str | None = None,
        remarks: Iterable[str] = (),
        read: Reading = Reading(),  # noqa: B008 - nothing in it changes
    ) -> None:
        check_promises(name, scenario, experiences, common_test)
        self.name = name
        self.edition = edition
        self.scenario = scenario
        self.experiences = tuple(experiences)
        self.objective = objective
        grows = scenario.label_space_at_test == "seen" and common_test is None
        usual = Retrieval() if objective.answers is AnswerKind.PARTNER else Accuracy(among_own=grows)
        self.metric = usual if metric is None else metric
        self.training = dict(training or {})
        self.reference = reference
        self.metadata = dict(metadata or {})
        self.common_test = common_test
        self.remarks = tuple(remarks)
        self.read = read

    @cached_property
    def streams(self) -> "Mapping[str, Sequence[Experience]]":
        """Avalanche's streams by their names; ``CLScenario(benchmark.streams.values())`` is a benchmark of its own."""
        from mmcl.streams.experience import stream_of

        tests = self.experiences
        if self.common_test is not None:
            tests = (replace(tests[0], name=self.common_test, label_space=self.label_space, domain=""),)
        return {
            "train": stream_of("train", [(data, data.train) for data in self.experiences]),
            "test": stream_of("test", [(data, data.test) for data in tests]),
        }

    @property
    def train(self) -> "Sequence[Experience]":
        """The training stream, in the order of learning."""
        return self.streams["train"]

    @property
    def test(self) -> "Sequence[Experience]":
        """The test stream: an experience for each of the training stream, or the one that all of them share."""
        return self.streams["test"]

    train_stream, test_stream = train, test  # as avalanche calls them

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        name, edition = markdown(self.name), markdown(self.edition)
        facts = f"**{name}**, {edition} edition, {self.scenario.name}, {self.objective}, {markdown(self.metric.name)}"
        return "\n".join([facts, "", *overview(self.experiences)])

    def with_experience(self, added: ExperienceData, remarks: Iterable[str] = ()) -> "Benchmark":
        """The same benchmark with one more experience at the end, and what was said of it."""
        return self._with((*self.experiences, added), remarks)

    def first(self, experiences: int | None) -> "Benchmark":
        """The same benchmark with its first experiences only; with all of them for ``None``."""
        return self._with(self.experiences[:experiences])

    def with_reference(self, reference: ReferenceData) -> "Benchmark":
        """The same benchmark with other reference data."""
        return self._with(self.experiences, reference=reference)

    def _with(
        self,
        experiences: Sequence[ExperienceData],
        remarks: Iterable[str] = (),
        reference: ReferenceData | None = None,
    ) -> "Benchmark":
        return Benchmark(
            name=self.name,
            edition=self.edition,
            scenario=self.scenario,
            experiences=experiences,
            objective=self.objective,
            metric=self.metric,
            training=self.training,
            reference=self.reference if reference is None else reference,
            metadata=self.metadata,
            common_test=self.common_test,
            remarks=(*self.remarks, *remarks),
            read=self.read,
        )

    @property
    def label_space(self) -> LabelSpace:
        """All classes of the stream."""
        return LabelSpace.joined(data.label_space for data in self.experiences)

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
        usual_backbone: as on the command line, what encodes data of a disk unless a run names another; embedded
            editions are made for the one that comes with MMCL.
    """

    name: ClassVar[str]
    usual_backbone: ClassVar[str] = "openclip:ViT-B-16/openai"

    @property
    def modalities(self) -> frozenset[str]:
        """What its samples may have: a class variable, or a property if options decide."""
        return frozenset({IMAGE})

    @property
    def objective(self) -> Objective:
        """What its samples are trained for: a class variable, or a property if options decide."""
        return Classification()

    def __post_init__(self) -> None:
        """Check numbers and choices; a benchmark with checks of its own calls ``check_options`` in them."""
        check_options(self, name_of(BENCHMARKS, type(self)))

    @property
    @abstractmethod
    def scenario(self) -> Scenario:
        """What is known at test time: a class variable, or a property if an option decides."""

    @abstractmethod
    def build(self) -> Benchmark:
        """Read the data and return the benchmark. Never downloads unless an option says so."""
