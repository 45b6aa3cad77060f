"""Own data: a folder of pictures, a CSV file or a saved data set of Hugging Face becomes a stream.

Source: whoever runs it. The stream is the one that ``mmcl.streams`` makes of the same data, number for number; as a
benchmark it has a configuration, so that ``config.toml`` runs it again and ``resume`` and ``extend`` go on with it.
Scenario: what ``by`` says. Groups of classes (``class``) and categories of them (``column``) are CIL; domains of the
same classes (``domain``) and pairs of a picture and a text (``pairs``) are DIL; with ``task_ids`` all but domains are
TIL. Data sets one after the other (``task``) are TIL, or MDTIL where their modalities differ.
Protocol: rows that say ``test`` in a column ``split``, or lie below a folder ``test``, are for testing; without any,
20 % of every class are, drawn by what the rows are and not by their order (``mmcl.data.holdout``). The score is
accuracy, and of pairs retrieval.
Training defaults: those of the library; of the embedded edition 20 steps at rate 1e-3.
Data: ``--data`` names a folder ``DATA/CLASS/PICTURE``, optionally below ``DATA/train`` and ``DATA/test``, or one of
arrays in the same places; a CSV file with a header, whose pictures and arrays are files named relative to it; or the
folder that ``save_to_disk`` of Hugging Face's ``datasets`` wrote. For categories, domains, tasks and pairs a folder may
also hold one of these for each of them. The embedded edition is a folder of ten held-out symbols.
Deviations: none; there is nothing to deviate from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from mmcl import streams
from mmcl.data.cache import materialise
from mmcl.data.modality import IMAGE
from mmcl.data.places import is_data_set, sets_below
from mmcl.data.reference import ReferenceData
from mmcl.data.tabulation import tabulated
from mmcl.errors import ConfigError, DataError
from mmcl.objectives.classification import Classification
from mmcl.objectives.contrastive import Contrastive
from mmcl.objectives.objective import Objective
from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl_benchmarks.copies.data_root import require_count
from mmcl_benchmarks.own.embedded import EDITION, TEMPLATES, TRAINING, write_embedded_own

STEPS = 5
# option -> the ways to a stream that read it
_READ_BY: Mapping[str, tuple[str, ...]] = {
    "steps": ("class", "pairs"),
    "column": ("column", "pairs"),
    "domain": ("domain",),
    "task_ids": ("class", "column", "pairs"),
    "templates": ("class", "column", "domain", "task"),
}
_OF_SETS = ("column", "domain", "task", "pairs")  # what may come as a data set for each


@dataclass(kw_only=True)
class Own(BenchmarkPlugin):
    """Own data by class, category, domain or task, or as pairs."""

    name: ClassVar[str] = "own"

    data_root: str | None = None  # your data, on the command line --data: a folder, a CSV file, or a saved data set
    embedded: bool = False  # ten drawn symbols that come with MMCL, to try it out
    by: Literal["class", "column", "domain", "task", "pairs"] = "class"  # what arrives
    steps: Count | tuple[Count, ...] | None = None  # into how many experiences (5); by class also the classes of each
    column: str | None = None  # by column, pairs: the column that says which category or experience a row belongs to
    domain: str | None = None  # by domain: the column that says which one a row belongs to ("domain")
    experiences: Count | None = None  # only the first ones
    order: tuple[str, ...] | None = None  # in which classes, categories, domains, tasks or pairs arrive, by name
    task_ids: bool = False  # by class, column, pairs: reveal the experience of every test sample: TIL
    label: str = "label"  # column of the class
    columns: dict[str, str | None] | None = None  # column -> modality it holds, or none if it is not needed
    templates: tuple[str, ...] | None = None  # prompts with one {} each; the first is used in training
    reference: str | None = None  # folder with images/ and captions.txt outside the stream

    def __post_init__(self) -> None:
        """Check the numbers, and what does not fit together."""
        check_options(self, self.name)
        require_count(self.name, self.experiences)
        if self.embedded and self.by != "class":
            raise ConfigError(
                "own.by", found=f"{self.by!r} of the embedded edition", allowed="'class'", remedy="Leave it out."
            )
        for option, ways in _READ_BY.items():
            if getattr(self, option) not in (None, False) and self.by not in ways:
                raise ConfigError(
                    f"own.{option}",
                    found=f"it has no effect on data by {self.by}",
                    allowed=" or ".join(f"by={way}" for way in ways),
                    remedy="Leave it out, or change 'by'.",
                )
        if self.by == "pairs" and isinstance(self.steps, tuple):
            raise ConfigError(
                "own.steps",
                found=f"{list(self.steps)} for pairs, which have no classes",
                allowed="how many experiences",
                remedy="Give a number, or a column.",
            )

    @property
    def scenario(self) -> Scenario:
        """What follows from the way in which the data arrive."""
        if self.by in ("domain", "pairs"):
            return TIL if self.task_ids else DIL
        if self.by == "task":
            return MDTIL if len(set(self._modalities)) > 1 else TIL
        return TIL if self.task_ids else CIL

    @property
    def modalities(self) -> frozenset[str]:
        """Those of the columns; pictures while no data are named."""
        return frozenset().union(*self._modalities)

    @property
    def objective(self) -> Objective:
        """Contrast of pairs, or classes."""
        return Contrastive() if self.by == "pairs" else Classification()

    def build(self) -> Benchmark:
        """Read the data.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given, or an option does not fit.
            DataError: if the data cannot be read, or do not keep the scenario's promises.
        """
        ways: Mapping[str, Callable[[], Benchmark]] = {
            "class": self._by_class,
            "column": self._by_column,
            "pairs": self._of_pairs,
            "domain": self._by_domain,
            "task": self._by_task,
        }
        whole = ways[self.by]()
        require_count(self.name, self.experiences, len(whole.experiences))
        stream = whole.first(self.experiences)
        return (
            stream if self.reference is None else stream.with_reference(ReferenceData.from_folder(Path(self.reference)))
        )

    def _by_class(self) -> Benchmark:
        steps = STEPS if self.steps is None else self.steps
        scenario = self.scenario.name
        return streams.by_class(self._data, experiences=steps, scenario=scenario, order=self.order, **self._common)

    def _by_column(self) -> Benchmark:
        if self.column is None and not self._sets:
            raise ConfigError(
                "own.column",
                found="none, and categories are to arrive",
                allowed="the column that says which category a row belongs to, or a folder with a data set for each",
                remedy="Name it: --set benchmark.column=NAME.",
            )
        data, scenario = self._sets or self._data, self.scenario.name
        return streams.by_column(data, column=self.column, scenario=scenario, order=self.order, **self._common)

    def _of_pairs(self) -> Benchmark:
        dealt = None if self._sets or self.column is not None else STEPS if self.steps is None else self.steps
        assert not isinstance(dealt, tuple)
        return streams.of_pairs(
            self._sets or self._data,
            column=self.column,
            experiences=dealt,
            order=self.order,
            scenario=self.scenario.name,
            columns=self.columns,
        )

    def _by_domain(self) -> Benchmark:
        column = "domain" if self.domain is None else self.domain
        return streams.by_domain(self._sets or self._data, order=self.order, domain=column, **self._common)

    def _by_task(self) -> Benchmark:
        if not self._sets:
            raise DataError(
                f"own data {self._data}",
                found="one data set",
                allowed="a folder with a data set for every task",
                remedy="Put the data of every task into a folder, CSV file or saved data set of its own below one.",
            )
        order = list(self._sets) if self.order is None else list(self.order)
        if sorted(order) != sorted(self._sets):
            raise ConfigError(
                "own.order",
                found=", ".join(map(repr, order)),
                allowed=f"each of {', '.join(map(repr, self._sets))} once",
                remedy="List the tasks as their folders or files are called.",
            )
        return streams.by_task({title: self._sets[title] for title in order}, **self._common)

    @property
    def _common(self) -> dict[str, Any]:
        """Arguments of all ways to a stream."""
        return {
            "label": self.label,
            "columns": self.columns,
            "templates": TEMPLATES if self.embedded and self.templates is None else self.templates,
            "training": TRAINING if self.embedded else None,
        }

    @cached_property
    def _data(self) -> Path:
        """Where the data are.

        Raises:
            ConfigError: if none are named, or too many.
            DataError: if there is nothing in that place.
        """
        if self.embedded == (self.data_root is not None):
            raise ConfigError(
                "benchmark 'own'",
                found="both own data and --embedded" if self.embedded else "no data",
                allowed="one of --data and --embedded",
                remedy="Name a folder, a CSV file or a saved data set: 'mmcl run own --data DATA'.",
            )
        if self.data_root is None:
            return materialise(f"own-{EDITION}", write_embedded_own)
        path = Path(self.data_root)
        if not path.exists():
            raise DataError(
                f"own data {path}",
                found="no such file or folder",
                allowed="a folder of pictures, a CSV file, or what save_to_disk of Hugging Face's datasets wrote",
                remedy="Correct --data.",
            )
        return path

    @cached_property
    def _sets(self) -> Mapping[str, Path]:
        """The data sets of domains or tasks that have one each, by name."""
        several = self.by in _OF_SETS and not is_data_set(self._data)
        return sets_below(self._data, classes=self.by != "pairs") if several else {}

    @cached_property
    def _modalities(self) -> list[frozenset[str]]:
        """Of every data set."""
        if self.embedded or self.data_root is None:
            return [frozenset({IMAGE})]
        places = list(self._sets.values()) or [self._data]
        label = None if self.by == "pairs" else self.label
        return [tabulated(place, self.name, label=label, columns=self.columns).modalities for place in places]
