"""Slots and needs: what strategies declare, and the check that they fit together before anything is loaded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError
from mmcl.learning.teachers import POLICIES
from mmcl.streams.scenario import Scenario

if TYPE_CHECKING:
    from mmcl.learning.strategy import StrategyPlugin


class Slot(Enum):
    """A place only one strategy can take. The value completes the sentence "'a' and 'b' both ..."."""

    BATCHES = "build the training batches"
    PROMPTS = "supply the prompts"
    FUSION = "fuse the modalities"
    HEAD = "decide the prediction"
    OBJECTIVE = "replace the task loss"
    GRADIENT = "edit the gradient last"


class Need(Enum):
    """Something a strategy or a scenario cannot do without. The value completes the sentence "'a' needs ..."."""

    IMAGE_ENCODER = "a backbone with an image encoder"
    TEXT_ENCODER = "a backbone with a text encoder"
    GENERATION = "a backbone that generates text"
    REFERENCE_DATA = "reference images and captions outside the stream"
    WHOLE_STREAM = "all experiences at once"
    CLASSES = "experiences with classes"
    PAIRS = "pairs of images and texts without classes"
    IMAGES_ALONE = "a stream of images alone"
    TASK_ID = "the task id at test time"
    IN_TURN = "experiences one after the other"


@dataclass(frozen=True)
class Surroundings:
    """What a composition runs in, as far as it is known; ``None`` is what nobody has said yet.

    Attributes:
        scenario: of the benchmark.
        backbone_modalities: what the backbone encodes.
        reference_data: whether the benchmark has any; known once its data have been read.
        stream_modalities: what the samples of the benchmark may have.
        generates: whether the backbone writes text.
        classifies: whether the samples of the benchmark have classes.
        contrasts: whether they are pairs of images and texts without classes.
    """

    scenario: Scenario | None = None
    backbone_modalities: frozenset[str] | None = None
    reference_data: bool | None = None
    stream_modalities: frozenset[str] | None = None
    generates: bool | None = None
    classifies: bool | None = None
    contrasts: bool | None = None

    def meets(self, need: Need) -> bool | None:
        """Whether ``need`` is met; ``None`` while that is not known."""
        known: Mapping[Need, bool | None] = {
            Need.IMAGE_ENCODER: self._encodes(IMAGE),
            Need.TEXT_ENCODER: self._encodes(TEXT),
            Need.GENERATION: self.generates,
            Need.REFERENCE_DATA: self.reference_data,
            Need.WHOLE_STREAM: True,
            Need.CLASSES: self.classifies,
            Need.PAIRS: self.contrasts,
            Need.IMAGES_ALONE: None if self.stream_modalities is None else self.stream_modalities == {IMAGE},
            Need.TASK_ID: None if self.scenario is None else self.scenario.task_id_known_at_test,
            Need.IN_TURN: True,
        }
        return known[need]

    def _encodes(self, modality: str) -> bool | None:
        return None if self.backbone_modalities is None else modality in self.backbone_modalities


_REMEDIES = {
    Need.IMAGE_ENCODER: "Choose a CLIP-like backbone, such as glyph-clip.",
    Need.TEXT_ENCODER: "Choose a CLIP-like backbone, such as glyph-clip.",
    Need.GENERATION: "Choose a backbone that generates, or a scenario with class labels.",
    Need.REFERENCE_DATA: "Name a folder with images/ and captions.txt: to the strategy, as in zscl:reference=DIR, or "
    "to a stream of your own data with reference=DIR; official data have it in DATA_ROOT/reference.",
    Need.WHOLE_STREAM: "Run it through mmcl.run.",
    Need.CLASSES: "Choose a benchmark of classes, or a strategy for pairs.",
    Need.PAIRS: "Choose a benchmark of pairs, or a strategy for classes.",
    Need.IMAGES_ALONE: "Choose a benchmark of images, or a strategy that replays features.",
    Need.TASK_ID: "Choose a benchmark of scenario TIL or MDTIL, or a strategy that does not ask for it.",
    Need.IN_TURN: "Run it without a strategy that learns the whole stream at once.",
}


def needs(
    strategies: Sequence["StrategyPlugin"], names: Sequence[str], scenario: Scenario | None
) -> Iterator[tuple[str, Need]]:
    """Who needs what: the scenario first, then the strategies in order."""
    if scenario is not None and scenario.label_space_at_test == "open":
        yield f"scenario {scenario.name!r}", Need.GENERATION
    for strategy, name in zip(strategies, names, strict=True):
        for need in sorted(strategy.requirements(), key=lambda need: need.name):
            yield f"strategy {name!r}", need


def occupants(strategies: Sequence["StrategyPlugin"], names: Sequence[str]) -> dict[Slot, list[str]]:
    """Who takes which slot."""
    found: dict[Slot, list[str]] = defaultdict(list)
    for strategy, name in zip(strategies, names, strict=True):
        for slot in sorted(strategy.slots, key=lambda slot: slot.name):
            found[slot].append(name)
    return dict(found)


def check_composition(strategies: Sequence["StrategyPlugin"], names: Sequence[str], around: Surroundings) -> None:
    """Refuse what cannot work together.

    Args:
        strategies: in the user's order.
        names: what the user called them, for the sentence.
        around: scenario, backbone and benchmark; what is not known yet is not refused.

    Raises:
        CompositionError: if the backbone cannot encode the stream, a need is not met, two strategies take one slot or
            want the stream at once and in turn, or a teacher does not exist.
    """
    _check_modalities(around)
    for who, need in needs(strategies, names, around.scenario):
        if around.meets(need) is False:
            raise CompositionError(
                who,
                found=f"it needs {need.value}, and there is none",
                allowed=f"only set-ups with {need.value}",
                remedy=_REMEDIES[need],
            )
    _check_turns(strategies, names)
    for slot, rivals in occupants(strategies, names).items():
        if len(rivals) > 1:
            raise CompositionError(
                f"composition of {', '.join(names)}",
                found=f"{' and '.join(map(repr, rivals))} both {slot.value} (slot {slot.name})",
                allowed="one strategy per slot",
                remedy="Keep one of them.",
            )
    for strategy, name in zip(strategies, names, strict=True):
        if unknown := sorted(t for t in strategy.teachers if isinstance(t, str) and t not in POLICIES):
            raise CompositionError(
                f"strategy {name!r}",
                found=f"it asks for the teacher {unknown[0]!r}, and there is none",
                allowed=" or ".join(map(repr, sorted(POLICIES))),
                remedy="Correct the 'teachers' of the strategy.",
            )


def consolidation_order(strategies: Iterable["StrategyPlugin"]) -> list["StrategyPlugin"]:
    """Order at the end of an experience: those that rewrite weights first, else as listed.

    Whoever stores the weights as an anchor afterwards then stores the ones that are handed over.
    """
    return sorted(strategies, key=lambda strategy: not strategy.rewrites_weights)


def _check_turns(strategies: Sequence["StrategyPlugin"], names: Sequence[str]) -> None:
    at_once, in_turn = (
        [name for strategy, name in zip(strategies, names, strict=True) if need in strategy.requirements()]
        for need in (Need.WHOLE_STREAM, Need.IN_TURN)
    )
    if at_once and in_turn:
        raise CompositionError(
            f"composition of {', '.join(names)}",
            found=f"{at_once[0]!r} needs {Need.WHOLE_STREAM.value}, and {in_turn[0]!r} {Need.IN_TURN.value}",
            allowed="one of the two",
            remedy="Keep one of them.",
        )


def _check_modalities(around: Surroundings) -> None:
    if around.stream_modalities is None or around.backbone_modalities is None:
        return
    if foreign := sorted(around.stream_modalities - around.backbone_modalities):
        raise CompositionError(
            f"modality {foreign[0]!r}",
            found="the stream has it and the backbone cannot encode it",
            allowed=f"streams of {', '.join(sorted(around.backbone_modalities))} with this backbone",
            remedy="Choose a backbone that encodes it, or a benchmark without it.",
        )
