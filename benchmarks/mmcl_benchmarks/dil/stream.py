"""From one data set per domain to a stream of domains: what the three domain-incremental benchmarks have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import SampleDataset
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL
from mmcl_benchmarks.copies.data_root import reference_below
from mmcl_benchmarks.copies.edition import Edition
from mmcl_benchmarks.formats.labelled import Side, Source, digest, unused

OUTSIDE = -1  # task id of test samples that belong to no training domain


@dataclass(frozen=True)
class Settings:
    """Training settings of a protocol: those of the first domain differ.

    Attributes:
        later: fields of ``TrainingConfig`` for all domains.
        first: what is different for the first.
    """

    later: Mapping[str, Any]
    first: Mapping[str, Any]


def domain_stream(
    name: str,
    domains: Mapping[str, Source],
    *,
    root: Path,
    edition: Edition,
    template: str,
    settings: Settings,
    convention: str,
    common_test: str | None = None,
) -> Benchmark:
    """One experience per domain, all with the same classes; a class's id is its label.

    Class and domain stay two fields: the reference code numbers classes anew in every domain and compares predictions
    modulo the number of classes, which comes to the same.

    Args:
        name: of the benchmark.
        domains: what was read, in the order of arrival.
        root: the data root.
        edition: of the data root.
        template: the prompt of the protocol.
        settings: training settings of the protocol.
        convention: names the split and the order.
        common_test: name of the test side that is the same in all domains, if it is.
    """
    names = edition.names_of(name, next(iter(domains.values())).names)
    space = LabelSpace.of(names, templates=edition.templates.get(name, (template,)))
    tests: dict[int, SampleDataset] = {}
    data, counts, digests = [], {}, {}
    for index, (domain, source) in enumerate(domains.items()):
        train = source.train.samples(root, f"{name}/train", space.ids, index)
        test_id = index if common_test is None else OUTSIDE
        test = tests.setdefault(id(source.test), source.test.samples(root, f"{name}/test", space.ids, test_id))
        training = settings.first if index == 0 and not edition.training else {}
        data.append(ExperienceData(domain, train, test, space, domain=domain, training=training))
        counts[domain] = [len(train), len(test)]
        digests[domain] = digest((source.train, source.test), root)
    return Benchmark(
        name=name,
        edition=edition.name,
        scenario=DIL,
        experiences=data,
        training=edition.settings(settings.later),
        common_test=common_test,
        reference=reference_below(root),
        metadata={
            "convention": convention,
            "synthetic": edition.synthetic,
            "classes": len(space),
            "samples": counts,
            "missing": sum(source.missing for source in domains.values()),
            "digest": digests,
        },
        remarks=unused(f"benchmark {name!r}", domains.values(), root),
    )


def joined(sides: Sequence[Side]) -> Side:
    """The files of several sides, one after the other."""
    labels, files, left_out = (
        [item for side in sides for item in of_side(side)]
        for of_side in (attrgetter("labels"), attrgetter("files"), attrgetter("left_out"))
    )
    return Side(labels, files, left_out=left_out)
