"""Slots and needs: what strategies declare, and the check that they fit together before anything is loaded."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mmcl.data.modality import TEXT
from mmcl.errors import CompositionError
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
    """Something a strategy cannot work without. The value completes the sentence "'a' needs ..."."""

    TEXT_ENCODER = "a backbone with a text encoder"
    REFERENCE_DATA = "reference images and captions outside the stream"
    WHOLE_STREAM = "all experiences at once"


@dataclass(frozen=True)
class Surroundings:
    """What a composition runs in, as far as it is known.

    Attributes:
        scenario: of the benchmark.
        backbone_modalities: what the backbone encodes.
        reference_data: whether the benchmark has any; ``None`` while it has not been read.
    """

    scenario: Scenario
    backbone_modalities: frozenset[str]
    reference_data: bool | None = None

    def lacks(self, need: Need) -> bool:
        """Whether ``need`` is known not to be met."""
        if need is Need.TEXT_ENCODER:
            return TEXT not in self.backbone_modalities
        if need is Need.REFERENCE_DATA:
            return self.reference_data is False
        return False


_REMEDIES = {
    Need.TEXT_ENCODER: "Choose a CLIP-like backbone, such as glyph-clip.",
    Need.REFERENCE_DATA: "Put images and captions.txt into DATA_ROOT/reference, or use the embedded edition.",
    Need.WHOLE_STREAM: "Run it through mmcl.run.",
}


def check_composition(strategies: Sequence["StrategyPlugin"], names: Sequence[str], around: Surroundings) -> None:
    """Refuse what cannot work together.

    Args:
        strategies: in the user's order.
        names: what the user called them, for the sentence.
        around: scenario, backbone and benchmark.

    Raises:
        CompositionError: if two strategies take one slot or a need is not met.
    """
    occupants: dict[Slot, list[str]] = defaultdict(list)
    for strategy, name in zip(strategies, names, strict=True):
        for slot in strategy.slots:
            occupants[slot].append(name)
        for need in strategy.requirements():
            if around.lacks(need):
                raise CompositionError(
                    f"strategy {name!r}",
                    found=f"it needs {need.value}, and there is none",
                    allowed=f"only set-ups with {need.value}",
                    remedy=_REMEDIES[need],
                )
    for slot, rivals in occupants.items():
        if len(rivals) > 1:
            raise CompositionError(
                f"composition of {', '.join(names)}",
                found=f"{' and '.join(map(repr, rivals))} both {slot.value} (slot {slot.name})",
                allowed="one strategy per slot",
                remedy="Keep one of them.",
            )


def consolidation_order(strategies: Iterable["StrategyPlugin"]) -> list["StrategyPlugin"]:
    """Order at the end of an experience: those that rewrite weights first, else as listed.

    Whoever stores the weights as an anchor afterwards then stores the ones that are handed over.
    """
    return sorted(strategies, key=lambda strategy: not strategy.rewrites_weights)
