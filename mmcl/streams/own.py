"""Own: what all ways from own data to a stream have in common."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.reference import ReferenceData
from mmcl.data.tabulation import require_columns
from mmcl.errors import ConfigError
from mmcl.evaluation.metric import Metric
from mmcl.evaluation.report import OWN
from mmcl.objectives.classification import Classification
from mmcl.objectives.objective import Objective
from mmcl.remarks import Remarks
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.reading import Reading
from mmcl.streams.scenario import Scenario
from mmcl.streams.sides import Sides

Reference = str | Path | ReferenceData


def own_benchmark(
    name: str,
    scenario: Scenario,
    parts: Sequence[ExperienceData],
    every: Iterable[Sides],
    read: Reading,
    *,
    training: Mapping[str, Any] | None,
    reference: Reference | None,
    objective: Objective = Classification(),  # noqa: B008 - nothing in it changes
    metric: Metric | None = None,
) -> Benchmark:
    """The stream, with the remarks of its data, a digest of every split, and reference data if there are any."""
    every = list(every)
    require_columns(read.columns, [table for sides in every for table in (sides.train, sides.test)])
    said = Remarks()
    for sentence in (sentence for sides in every for sentence in sides.remarks):
        said.add(sentence)
    return Benchmark(
        name=name,
        edition=OWN,
        scenario=scenario,
        experiences=parts,
        objective=objective,
        metric=metric,
        training=training,
        reference=ReferenceData.from_folder(reference) if isinstance(reference, (str, Path)) else reference,
        metadata={
            "convention": "own",
            "samples": {part.name: [len(part.train), len(part.test)] for part in parts},
            "digest": {part.name: _digest((part.train, part.test)) for part in parts},
        },
        remarks=said,
        read=read,
    )


def titled(names: Sequence[str] | None, titles: Sequence[str]) -> Sequence[str]:
    """Names of experiences in order of arrival: those that are given, or ``titles``.

    Raises:
        ConfigError: if there is not one for each.
    """
    if names is not None and len(names) != len(titles):
        raise ConfigError(
            "names of experiences",
            found=f"{len(names)}: {', '.join(map(repr, names))}",
            allowed=f"one for each of {', '.join(map(repr, titles))}, in this order",
            remedy="Name them all, or leave out names.",
        )
    return titles if names is None else names


def arrival(order: Sequence[str] | None, titles: Sequence[str], what: str) -> Sequence[str]:
    """Domains or categories in order of arrival: the one that is given, or that of ``titles``.

    Raises:
        ConfigError: if it does not have each of them once.
    """
    if order is not None and sorted(order) != sorted(titles):
        raise ConfigError(
            f"order of {what}",
            found=", ".join(map(repr, order)) or "nothing",
            allowed=f"each of {', '.join(map(repr, titles))} once",
            remedy="List them as they are called.",
        )
    return titles if order is None else order


def possible_scenario(name: str, possible: Sequence[Scenario], why: str) -> Scenario:
    """The scenario of a name.

    Raises:
        ConfigError: if it is none of those that are possible.
    """
    for scenario in possible:
        if scenario.name == name:
            return scenario
    names = [scenario.name for scenario in possible]
    raise ConfigError(f"scenario {name!r}", found=why, allowed=" or ".join(names), remedy=f"Choose {names[0]!r}.")


def _digest(sides: Iterable[Any]) -> str:
    """Identifies a split by the ids and classes of its samples, without reading them."""
    lines = [f"{side.sample_id(i)} {target}" for side in sides for i, target in enumerate(side.targets)]
    return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]
