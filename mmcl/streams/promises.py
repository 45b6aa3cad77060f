"""Promises: what the experiences of a stream must keep, whoever made it."""

from collections.abc import Iterable, Sequence
from typing import NoReturn

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel
from mmcl.data.names import namesakes, plain_name, some
from mmcl.errors import DataError
from mmcl.streams.scenario import Scenario


def check_promises(
    benchmark: str, scenario: Scenario, experiences: Sequence[ExperienceData], common_test: str | None
) -> None:
    """Refuse a stream that does not keep what its scenario and its names promise.

    Raises:
        DataError: with the first promise that is broken.
    """
    who = f"benchmark {benchmark!r}"
    _check_names(who, experiences)
    _check_classes(who, scenario, experiences)
    _check_scenario(who, scenario, experiences)
    if common_test is not None:
        _check_common_test(who, scenario, experiences)


def _check_names(who: str, experiences: Sequence[ExperienceData]) -> None:
    if not experiences:
        _refuse(who, "it has no experience", "at least one experience", "Check the data folder.")
    names = [data.name for data in experiences]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        _refuse(
            who,
            f"experiences share the names {repeated}",
            "a unique name for every experience",
            "Rename them: names label the rows and columns of the result matrix.",
        )


def _check_classes(who: str, scenario: Scenario, experiences: Sequence[ExperienceData]) -> None:
    """A class is an id with a name: one name per id everywhere, one id per name among those learned together."""
    known: dict[int, ClassLabel] = {}
    for data in experiences:
        for label in data.label_space:
            if not isinstance(label.name, str) or not label.name.strip():
                _refuse(
                    who,
                    f"class {label.id} of {data.name!r} is called {label.name!r}",
                    "a text for every class",
                    "Name it.",
                )
            other = known.setdefault(label.id, label)
            if plain_name(other.name) != plain_name(label.name):
                _refuse(
                    who,
                    f"class id {label.id} stands for {other.name!r} and, in {data.name!r}, for {label.name!r}",
                    "one class per id in the whole stream",
                    "Number the classes of the stream anew, or correct the name.",
                )
    # where all classes of a stream of data sets compete, two sets may know the same word; a remark says so
    if scenario.label_space_at_test in ("own", "all"):
        for data in experiences:
            _check_namesakes(who, data.label_space)
    else:
        _check_namesakes(who, known.values())


def _check_namesakes(who: str, competing: Iterable[ClassLabel]) -> None:
    labels = list(competing)
    if pair := namesakes(label.name for label in labels):
        one, other = (labels[position] for position in pair)
        _refuse(
            who,
            f"the classes {one.id} and {other.id} compete and are called {one.name!r} and {other.name!r}",
            "names that people can tell apart",
            "Say in the name of each what is meant.",
        )


def _check_scenario(who: str, scenario: Scenario, experiences: Sequence[ExperienceData]) -> None:
    if scenario.label_space_at_test == "shared":
        differences = [_difference(experiences[0], data) for data in experiences[1:]]
        if odd := [sentence for sentence in differences if sentence]:
            _refuse(
                who,
                f"the label spaces differ: {'; '.join(odd[:3])}",
                f"one shared label space in scenario {scenario.name}",
                "Map the labels to common classes or choose scenario CIL or TIL.",
            )
    kinds = {data.modalities for data in experiences}
    if not scenario.modalities_change and len(kinds) > 1:
        _refuse(
            who,
            f"the modalities differ between experiences: {sorted(map(sorted, kinds))}",
            f"the same modalities everywhere in scenario {scenario.name}",
            "Choose scenario MDTIL for streams whose modalities change.",
        )


def _check_common_test(who: str, scenario: Scenario, experiences: Sequence[ExperienceData]) -> None:
    """Refuse a common test set that is none, or that nobody could be tested on."""
    if apart := [data.name for data in experiences if data.test is not experiences[0].test]:
        _refuse(
            who,
            f"{apart[0]!r} has a test set of its own",
            "one and the same data set everywhere",
            "Give all experiences the same object as 'test', or leave out 'common_test'.",
        )
    if scenario.label_space_at_test == "own":
        _refuse(
            who,
            f"a common test set in scenario {scenario.name}",
            "scenarios that do not reveal the experience",
            "Choose CIL or DIL, or give every experience its own test set.",
        )


def _difference(first: ExperienceData, other: ExperienceData) -> str:
    """What two label spaces do not share, in words: classes by name, else the ids of the same names."""
    here, there = ({plain_name(label.name): label for label in data.label_space} for data in (other, first))
    lacks = [label.name for name, label in there.items() if name not in here]
    adds = [label.name for name, label in here.items() if name not in there]
    parts = [f"lacks {some(lacks)}"] * bool(lacks) + [f"has {some(adds)} in addition"] * bool(adds)
    moved = [name for name, label in here.items() if not parts and label.id != there[name].id]
    if moved:
        parts = [f"has {here[moved[0]].name!r} as class {here[moved[0]].id} instead of {there[moved[0]].id}"]
    return f"{other.name!r} {' and '.join(parts)}, compared with {first.name!r}" if parts else ""


def _refuse(who: str, found: str, allowed: str, remedy: str) -> NoReturn:
    raise DataError(who, found=found, allowed=allowed, remedy=remedy)
