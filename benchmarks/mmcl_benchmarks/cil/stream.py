"""From a data set on disk to a stream of classes: what the four class-incremental benchmarks have in common."""

from collections.abc import Mapping, Sequence
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


def class_stream(
    name: str,
    source: Source,
    *,
    root: Path,
    edition: Edition,
    scenario: Scenario,
    order: Sequence[int],
    sizes: Sequence[int],
    template: str,
    training: Mapping[str, Any],
    convention: str,
    experiences: int | None,
) -> Benchmark:
    """Cut the classes of ``source`` into experiences; a class's id is its position in the order.

    Args:
        name: of the benchmark.
        source: what was read.
        root: the data root.
        edition: of the data root.
        scenario: what is known at test time.
        order: the labels of the source in the order of their arrival.
        sizes: number of classes of every experience.
        template: the one prompt of the protocol, in training and at test time.
        training: settings of the protocol; an edition that was made, not taken, brings all of its own.
        convention: names the split and the order.
        experiences: only so many of the first, if given.

    Raises:
        ConfigError: if the stream has fewer experiences.
        DataError: if an experience lacks samples.
    """
    require_count(name, experiences, len(sizes))
    names = edition.names_of(name, source.names)
    templates = edition.templates.get(name, (template,))
    groups = class_groups(order, sizes)
    rows = [rows_by_group(side.labels, groups) for side in (source.train, source.test)]
    id_of = {label: position for position, label in enumerate(order)}
    data, counts, digests = [], {}, {}
    for index, title in enumerate(group_names(sizes)[:experiences]):
        sides = [side.part(of_side[index]) for side, of_side in zip((source.train, source.test), rows, strict=True)]
        first, labels = id_of[groups[index][0]], [names[label] for label in groups[index]]
        space = LabelSpace.of(labels, first_id=first, templates=templates)
        train, test = (
            side.samples(root, f"{name}/{kind}", id_of, index)
            for kind, side in zip(("train", "test"), sides, strict=True)
        )
        data.append(ExperienceData(title, train, test, space))
        counts[title] = [len(train), len(test)]
        digests[title] = digest(sides, root)
    return Benchmark(
        name=name,
        edition=edition.name,
        scenario=scenario,
        experiences=data,
        training=edition.settings({} if edition.synthetic else training),
        reference=reference_below(root),
        metadata={
            "convention": convention,
            "synthetic": edition.synthetic,
            "classes": list(sizes[:experiences]),
            "samples": counts,
            "missing": source.missing,
            "digest": digests,
        },
        remarks=unused(f"benchmark {name!r}", [source], root),
    )
