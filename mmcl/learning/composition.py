"""Composition: the check that strategies fit together, and into what they run in, before anything is loaded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import ClassVar, Protocol, TypeVar

from mmcl.errors import CompositionError
from mmcl.learning.compose import Need, Order, Slot, Surroundings
from mmcl.learning.teachers import POLICIES, Policy
from mmcl.streams.scenario import Scenario


class Composed(Protocol):
    """What a strategy declares of itself for those it will work with; ``StrategyPlugin`` says what each fact means."""

    order: ClassVar[Order]
    closed_form: ClassVar[bool]
    fixed_features: ClassVar[bool]

    @property
    def adapts(self) -> bool:
        """Whether it adds to the backbone what is trained by steps."""

    @property
    def slots(self) -> frozenset[Slot]:
        """Exclusive places it takes."""

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """Frozen copies of the model that it reads."""

    @property
    def rewrites_weights(self) -> bool:
        """Whether it changes the weights at the end of an experience."""

    def requirements(self) -> frozenset[Need]:
        """What it cannot work without."""


C = TypeVar("C", bound=Composed)


def needs(
    strategies: Sequence[Composed], names: Sequence[str], scenario: Scenario | None
) -> Iterator[tuple[str, Need]]:
    """Who needs what: the scenario first, then the strategies in order."""
    if scenario is not None and scenario.label_space_at_test == "open":
        yield f"scenario {scenario.name!r}", Need.WRITER
    for strategy, name in zip(strategies, names, strict=True):
        for need in sorted(strategy.requirements(), key=lambda need: need.name):
            yield f"strategy {name!r}", need


def occupants(strategies: Sequence[Composed], names: Sequence[str]) -> dict[Slot, list[str]]:
    """Who takes which slot."""
    found: dict[Slot, list[str]] = defaultdict(list)
    for strategy, name in zip(strategies, names, strict=True):
        for slot in sorted(strategy.slots, key=lambda slot: slot.name):
            found[slot].append(name)
    return dict(found)


def inhabited(around: Surroundings, strategies: Iterable[Composed]) -> Surroundings:
    """The same surroundings for strategies that have each other beside them."""
    return replace(around, taken=frozenset(slot for strategy in strategies for slot in strategy.slots))


def check_composition(strategies: Sequence[Composed], names: Sequence[str], around: Surroundings) -> None:
    """Refuse what cannot work together.

    Args:
        strategies: in the user's order.
        names: what the user called them, for the sentence.
        around: scenario, backbone and benchmark; what is not known yet is not refused.

    Raises:
        CompositionError: if the backbone cannot encode the stream, a need is not met, two strategies take one slot or
            want the stream at once and in turn, one adapts the features that another takes for fixed, or a
            teacher does not exist.
    """
    _check_modalities(around)
    around = inhabited(around, strategies)
    for who, need in needs(strategies, names, around.scenario):
        if need.met(around) is False:
            raise CompositionError(
                who,
                found=f"it needs {need.what}, and there is none",
                allowed=f"only set-ups with {need.what}",
                remedy=need.remedy,
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
    _check_features(strategies, names)
    for strategy, name in zip(strategies, names, strict=True):
        if unknown := sorted(t for t in strategy.teachers if isinstance(t, str) and t not in POLICIES):
            raise CompositionError(
                f"strategy {name!r}",
                found=f"it asks for the teacher {unknown[0]!r}, and there is none",
                allowed=" or ".join(map(repr, sorted(POLICIES))),
                remedy="Correct the 'teachers' of the strategy.",
            )


def consolidation_order(strategies: Iterable[C]) -> list[C]:
    """Order at the end of an experience: those that rewrite weights first, else as listed.

    Whoever stores the weights as an anchor afterwards then stores the ones that are handed over.
    """
    return sorted(strategies, key=lambda strategy: not strategy.rewrites_weights)


def _check_turns(strategies: Sequence[Composed], names: Sequence[str]) -> None:
    at_once, in_turn = (
        [name for strategy, name in zip(strategies, names, strict=True) if strategy.order == order]
        for order in ("at once", "in turn")
    )
    if at_once and in_turn:
        raise CompositionError(
            f"composition of {', '.join(names)}",
            found=f"{at_once[0]!r} learns all experiences at once, and {in_turn[0]!r} one after the other",
            allowed="one of the two",
            remedy="Keep one of them.",
        )


def _check_features(strategies: Sequence[Composed], names: Sequence[str]) -> None:
    named = list(zip(strategies, names, strict=True))
    for (fixed, who), (adapting, other) in permutations(named, 2):
        if not (fixed.fixed_features and adapting.adapts):
            continue
        raise CompositionError(
            f"composition of {', '.join(names)}",
            found=f"{who!r} learns from features that stay as they are, and {other!r} adds to the backbone what is "
            "trained by steps",
            allowed="one of the two",
            remedy="Keep one of them.",
        )


def _check_modalities(around: Surroundings) -> None:
    if around.modalities is None or around.encodes is None:
        return
    if foreign := sorted(around.modalities - around.encodes):
        raise CompositionError(
            f"modality {foreign[0]!r}",
            found="the stream has it and the backbone cannot encode it",
            allowed=f"streams of {', '.join(sorted(around.encodes))} with this backbone",
            remedy="Choose a backbone that encodes it, or a benchmark without it.",
        )
