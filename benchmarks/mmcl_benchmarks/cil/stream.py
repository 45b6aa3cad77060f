"""From a data set on disk to a stream of classes: what the class-incremental benchmarks have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.grouping import class_groups, group_names, rows_by_group
from mmcl.streams.scenario import Scenario
from mmcl_benchmarks.copies.data_root import reference_below, require_count
from mmcl_benchmarks.copies.edition import Edition
from mmcl_benchmarks.formats.labelled import Source, digest, unused

# of ZSCL's class-incremental code; two benchmarks change some of them
TRAINING: Mapping[str, Any] = {
    "epochs": 1,
    "batch_size": 64,
    "lr": 7.1e-6,
    "weight_decay": 0.0,
    "warmup": 30,
    "label_smoothing": 0.2,
}


@dataclass(frozen=True)
class Protocol:
    """How a data set is cut into experiences, and how they are learned.

    Attributes:
        order: the labels of the data set in the order of their arrival.
        sizes: number of classes of every experience.
        template: the one prompt, in training and at test time.
        training: settings; an edition that was made, not taken, brings all of its own.
        later: those that differ in all experiences but the first.
        convention: names the split and the order.
    """

    order: Sequence[int]
    sizes: Sequence[int]
    template: str
    training: Mapping[str, Any]
    convention: str
    later: Mapping[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The labels of every experience."""
        return class_groups(self.order, self.sizes)


def class_stream(
    name: str,
    source: Source,
    protocol: Protocol,
    *,
    root: Path,
    edition: Edition,
    scenario: Scenario,
    experiences: int | None,
    facts: Mapping[str, Any] | None = None,
) -> Benchmark:
    """Cut the classes of ``source`` into experiences; a class's id is its position in the order.

    Args:
        name: of the benchmark.
        source: what was read.
        protocol: says how.
        root: the data root.
        edition: of the data root.
        scenario: what is known at test time.
        experiences: only so many of the first, if given.
        facts: for the metadata, beside what every such stream says.

    Raises:
        ConfigError: if the stream has fewer experiences.
        DataError: if an experience lacks samples.
    """
    sizes, groups = protocol.sizes, protocol.groups
    require_count(name, experiences, len(sizes))
    names = edition.names_of(name, source.names)
    templates = edition.templates.get(name, (protocol.template,))
    rows = [rows_by_group(side.labels, groups) for side in (source.train, source.test)]
    id_of = {label: position for position, label in enumerate(protocol.order)}
    data, counts, digests = [], {}, {}
    for index, title in enumerate(group_names(sizes)[:experiences]):
        sides = [side.part(of_side[index]) for side, of_side in zip((source.train, source.test), rows, strict=True)]
        first, labels = id_of[groups[index][0]], [names[label] for label in groups[index]]
        space = LabelSpace.of(labels, first_id=first, templates=templates)
        train, test = (
            side.samples(root, f"{name}/{kind}", id_of, index)
            for kind, side in zip(("train", "test"), sides, strict=True)
        )
        own = protocol.later if index and not edition.synthetic else {}
        data.append(ExperienceData(title, train, test, space, training=own))
        counts[title] = [len(train), len(test)]
        digests[title] = digest(sides, root)
    return Benchmark(
        name=name,
        edition=edition.name,
        scenario=scenario,
        experiences=data,
        training=edition.settings({} if edition.synthetic else protocol.training),
        reference=reference_below(root),
        metadata={
            "convention": protocol.convention,
            **(facts or {}),
            "synthetic": edition.synthetic,
            "classes": list(sizes[:experiences]),
            "samples": counts,
            "missing": source.missing,
            "digest": digests,
        },
        remarks=unused(f"benchmark {name!r}", [source], root),
    )
