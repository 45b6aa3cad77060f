"""The data sets of MTIL as experiences, in any order and number, for the protocols that are made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.remarks import Remarks
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import Scenario
from mmcl_benchmarks.copies.data_root import Opened, check_size, reading, reference_below, require
from mmcl_benchmarks.formats.labelled import Side, Source, check_plausible, digest, unused

if TYPE_CHECKING:
    from mmcl_benchmarks.mtil.sources import Origin

CONTENTS = "the data sets as torchvision lays them out"


@dataclass(frozen=True)
class DataSets:
    """What has been read.

    Attributes:
        experiences: one for each data set.
        samples: data set -> how many there are for training and for the test.
        digests: data set -> of the split.
        remarks: what lies beside the data.
    """

    experiences: Sequence[ExperienceData]
    samples: Mapping[str, Sequence[int]]
    digests: Mapping[str, str]
    remarks: Remarks


def read_data_sets(
    place: Opened,
    names: Sequence[str],
    templates: Callable[[str], Sequence[str]],
    *,
    training: Callable[[str], Mapping[str, Any]] = lambda name: {},
    chosen: Callable[[str, Side], Side] = lambda name, side: side,
    download: bool = False,
    strict: bool = False,
) -> DataSets:
    """Read the file lists of some data sets; their classes are numbered in this order.

    Args:
        place: where they lie.
        names: of the data sets.
        templates: data set -> templates of its prompts.
        training: data set -> settings of its own.
        chosen: data set, its training side -> the part that is trained on.
        download: whether torchvision may fetch what is missing.
        strict: whether official data sets that do not have the official size are refused.

    Raises:
        DataError: if a data set is missing or, with ``strict``, not of its official size.
    """
    from mmcl_benchmarks.mtil.sources import ORIGINS  # torchvision, which declaring does without

    root, edition = place.root, place.edition
    sources: dict[str, Source] = {}
    data, counts, digests, first_id = [], {}, {}, 0
    for task_id, name in enumerate(names):
        who = f"{place.who}, data set {name}"
        source = sources[name] = _read(place, who, ORIGINS[name], download)
        space = LabelSpace.of(edition.names_of(name, source.names), first_id=first_id, templates=templates(name))
        sides = (chosen(name, source.train), source.test)
        train, test = (
            side.samples(root, f"{name}/{kind}", space.ids, task_id)
            for kind, side in zip(("train", "test"), sides, strict=True)
        )
        counts[name] = [len(train), len(test)]
        digests[name] = digest(sides, root)
        if edition.official:
            found = {"training samples": len(source.train), "test samples": len(source.test)}
            check_size(who, found, dict(zip(found, ORIGINS[name].sizes, strict=True)), strict)
        data.append(ExperienceData(name, train, test, space, training=training(name)))
        first_id += len(space)
    return DataSets(data, counts, digests, unused(place.who, sources.values(), root))


def stream_of(
    place: Opened,
    found: DataSets,
    *,
    name: str,
    scenario: Scenario,
    training: Mapping[str, Any],
    protocol: Mapping[str, Any],
) -> Benchmark:
    """The benchmark of data sets that have been read.

    Args:
        place: where they lie; its edition may have training settings of its own.
        found: in the order in which they are learned.
        name: of the benchmark.
        scenario: of the benchmark.
        training: settings of the official edition.
        protocol: what tells this stream from others of the benchmark, for its metadata.
    """
    edition = place.edition
    return Benchmark(
        name=name,
        edition=edition.name,
        scenario=scenario,
        experiences=found.experiences,
        training=edition.settings(training),
        reference=reference_below(place.root),
        metadata={
            "convention": "zscl",
            **protocol,
            "synthetic": edition.synthetic,
            "samples": found.samples,
            "digest": found.digests,
        },
        remarks=found.remarks,
    )


def _read(place: Opened, who: str, origin: "Origin", download: bool) -> Source:
    if not download:
        remedy = f"Get them from {origin.owner}, or add --download where torchvision can fetch them."
        require(place.root, origin.folder, who, origin.owner, remedy)
    with reading(who, f"{origin.folder} below {place.root}", origin.owner):
        source: Source = origin.read(place.root, download)
        check_plausible(source, place.root)
    return source
