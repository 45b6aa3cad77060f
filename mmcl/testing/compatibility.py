"""Compatibility: every composition of one or two strategies on every scenario, refused by what it declares or trained.

A composition either learns a toy stream or is refused with a reason; anything else is a defect and raises.
``docs/compatibility.md`` is the page that ``Compatibility.markdown`` writes. What is refused follows from declarations,
for all pairs in seconds. What is not refused has to learn: all of it before the page is written (``everything``), and
in a test suite as much as grows with the number of strategies and not with that of pairs (``selection``).
"""

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from hashlib import sha256
from itertools import combinations
from typing import NamedTuple, TypeVar

from mmcl.build import backbone, strategy, surroundings
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import names_backbones
from mmcl.registry import BACKBONES, STRATEGIES, entries, load
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import SCENARIOS
from mmcl.testing.toy import toy_benchmark, toy_learner

T = TypeVar("T")

TRAINS = ""
HOOKS = [
    name
    for name, member in vars(StrategyPlugin).items()
    if inspect.isfunction(member) and "learner" in inspect.signature(member).parameters
]
# by which strategies meet each other without a common hook
_FACTS = ("adapts", "closed_form", "fixed_features", "rewrites_weights", "teachers")
_GROUPS = (STRATEGIES, BACKBONES)
_CLIP = {frozenset({IMAGE}), frozenset({TEXT})}  # what the towers read on which most strategies feel at home
_INTRODUCTION = """# Compatibility

Which strategies train on which scenario and backbone, and which train together. Every cell was tried: a composition
learns a toy stream of that scenario (two experiences; three where modalities change: images, then texts, then both with
some missing), or it is refused with the reason in the footnote: before anything is loaded as far as parts declare it,
else before the first step. On backbones whose weights would have to be downloaded or are large, a random miniature of
the same classes stands in for them.

`mmcl explain A B --benchmark NAME` says the same of any composition, with options and in any number.
"""


class Trial(NamedTuple):
    """A composition on a scenario and the backbone of a name."""

    strategies: tuple[str, ...]
    scenario: str
    backbone: str

    def __str__(self) -> str:
        return f"{'+'.join(self.strategies)} on {self.scenario}, {self.backbone}"

    def run(self) -> str:
        """Refuse it, or let it learn.

        Returns:
            ``TRAINS``, or the reason of the refusal.
        """
        return try_out(self.strategies, self.scenario, backbone(self.backbone))


@cache
def declared(strategies: tuple[str, ...], scenario: str, on: str) -> str:
    """What comes out by declarations alone: the reason of a refusal, or ``TRAINS`` if nothing speaks against it."""
    return _refusal({name: _miniature(name) for name in strategies}, _around(scenario, on))


def try_out(strategies: Sequence[str], scenario: str, plugin: BackbonePlugin) -> str:
    """Let a composition learn a toy stream on the miniature of a backbone.

    Returns:
        ``TRAINS``, or the reason of the refusal.
    """
    built = {name: strategy(name).miniature() for name in strategies}
    benchmark = _stream(scenario)
    if reason := _refusal(built, surroundings(plugin, benchmark, reference_data=True)):
        return reason
    try:
        learner = toy_learner(benchmark, built, backbone=plugin.miniature(), iterations=2)
        for experience in benchmark.train:
            learner.train(experience)
    except CompositionError as refusal:
        return _reason(refusal, strategies)
    return TRAINS


@cache
def traits(name: str) -> frozenset[str]:
    """By what a strategy can meet others: the hooks it overrides, its slots and needs, and what else it declares."""
    found = _miniature(name)
    return frozenset(
        [
            *(hook for hook in HOOKS if found.overrides(hook)),
            *(slot.name for slot in found.slots),
            *(need.name for need in found.requirements()),
            *(fact for fact in _FACTS if getattr(found, fact)),
        ]
    )


def meetings(strategies: Sequence[str]) -> frozenset[frozenset[str]]:
    """The traits of two strategies, each of one with each of the other; of one strategy its own, which meet no one."""
    first, *others = (traits(name) for name in strategies)
    if not others:
        return frozenset(frozenset({one}) for one in first)
    return frozenset(frozenset({one, other}) for one in first for other in others[0])


def covering(found: Mapping[T, frozenset[Hashable]]) -> list[T]:
    """Some of the keys, whose sets together hold all that there is: no more of them than there are elements."""
    chosen, seen = [], set[Hashable]()
    for key in sorted(found, key=lambda key: len(found[key]), reverse=True):
        if not found[key] <= seen:
            chosen.append(key)
            seen |= found[key]
    return chosen


@dataclass(frozen=True)
class Compatibility:
    """Compositions of these strategies, in the order of rows and columns, on these backbones.

    Attributes:
        strategies: by name.
        backbones: by name.
        late: reasons of refusals that no declaration foresees; ``tried`` finds them.
    """

    strategies: Sequence[str]
    backbones: Sequence[str]
    late: Mapping[Trial, str] = field(default_factory=dict)

    @classmethod
    def of(cls, distribution: str) -> "Compatibility":
        """All that a distribution registers, backbones like CLIP first; such as are made of others do what those do."""
        own = {
            group: [entry.name for entry in entries(group) if entry.distribution == distribution] for group in _GROUPS
        }
        whole = [name for name in own[BACKBONES] if not _is_made_of_others(name)]
        return cls(own[STRATEGIES], sorted(whole, key=lambda name: backbone(name).reads != _CLIP))

    def markdown(self) -> str:
        """The page: one table of single strategies per backbone, one of pairs, and the reasons of refusals."""
        reasons: dict[str, int] = {}
        page = [_INTRODUCTION]
        for name in self.backbones:
            page.append(f"## One strategy, on `{name}`\n")
            rows = [
                [one, *(_cell([self.outcome(Trial((one,), scenario, name))], reasons) for scenario in SCENARIOS)]
                for one in self.strategies
            ]
            page.append(_table(["", *SCENARIOS], rows))
        page.append("## Two strategies\n")
        page.append("On every scenario on which both train alone or together; no strategy is named twice.\n")
        rows = [
            [one, *(_cell(self._together(one, other), reasons) for other in self.strategies)] for one in self.strategies
        ]
        page.append(_table(["", *self.strategies], rows))
        page.append("\n".join(f"[^{number}]: {reason}." for reason, number in reasons.items()) + "\n")
        page.append(
            f"All of this was tried with strategies of these hooks, slots and needs: `{self.declarations()}`.\n"
        )
        return "\n".join(page)

    def outcome(self, trial: Trial) -> str:
        """``TRAINS``, or the reason of a refusal, as far as it is declared or has been tried."""
        return declared(*trial) or self.late.get(trial, TRAINS)

    def tried(self) -> "Compatibility":
        """The same after every composition that no declaration refuses has learned, or was refused late."""
        outcomes = {trial: trial.run() for trial in self.everything() if declared(*trial) == TRAINS}
        return replace(self, late={trial: reason for trial, reason in outcomes.items() if reason != TRAINS})

    def everything(self) -> list[Trial]:
        """Each strategy alone on every backbone, and each pair on one that serves the scenario."""
        alone = [Trial((n,), scenario, on) for n in self.strategies for scenario in SCENARIOS for on in self.backbones]
        pairs = combinations(self.strategies, 2)
        return alone + [Trial(pair, scenario, self.host(scenario)) for pair in pairs for scenario in SCENARIOS]

    def selection(self) -> list[Trial]:
        """Each strategy alone once on every scenario, and of all else as few as show every meeting of two traits.

        Of those that train. A strategy that is made like another one adds its trials alone.
        """
        trials = [trial for trial in self.everything() if self.outcome(trial) == TRAINS]
        alone = [t for t in trials if len(t.strategies) == 1 and t.backbone == self.host(t.scenario)]
        others = {
            trial: frozenset((trial.scenario, trial.backbone, meeting) for meeting in meetings(trial.strategies))
            for trial in trials
            if trial not in set(alone)
        }
        return alone + covering(others)

    def declarations(self) -> str:
        """A digest of the traits of all strategies."""
        return sha256(repr([(name, sorted(traits(name))) for name in self.strategies]).encode()).hexdigest()[:16]

    def host(self, scenario: str) -> str:
        """The first backbone that serves a scenario at all."""
        serving = [name for name in self.backbones if declared((), scenario, name) == TRAINS]
        return (serving or list(self.backbones))[0]

    def _together(self, one: str, other: str) -> list[str]:
        if one == other:
            return ["a strategy is named once in a composition"]
        pair = (one, other) if self.strategies.index(one) < self.strategies.index(other) else (other, one)
        outcomes = {s: self.outcome(Trial(pair, s, self.host(s))) for s in SCENARIOS}
        possible = [
            outcome
            for s, outcome in outcomes.items()
            if outcome == TRAINS or all(self.outcome(Trial((n,), s, self.host(s))) == TRAINS for n in pair)
        ]
        return possible or list(outcomes.values())


def _is_made_of_others(name: str) -> bool:
    kind = load(BACKBONES, name)
    return any(names_backbones(kind, option.name) for option in fields(kind))


@cache
def _miniature(name: str) -> StrategyPlugin:
    """For its declarations; it never learns."""
    found: StrategyPlugin = strategy(name).miniature()
    return found


def _stream(scenario: str) -> Benchmark:
    kind = SCENARIOS[scenario]
    return toy_benchmark(kind, experiences=3 if kind.modalities_change else 2, per_class=3)


@cache
def _around(scenario: str, on: str) -> Surroundings:
    return surroundings(backbone(on), _stream(scenario), reference_data=True)


def _refusal(built: Mapping[str, StrategyPlugin], around: Surroundings) -> str:
    try:
        check_composition(list(built.values()), list(built), around)
    except CompositionError as refusal:
        return _reason(refusal, list(built))
    return TRAINS


def _cell(outcomes: Iterable[str], reasons: dict[str, int]) -> str:
    """What happened in all cases: ``trains``, ``refused`` with footnotes, or both where scenarios differ."""
    outcomes = list(dict.fromkeys(outcomes))
    refused = [reason for reason in outcomes if reason != TRAINS]
    notes = "".join(f"[^{reasons.setdefault(reason, len(reasons) + 1)}]" for reason in refused)
    words = (["trains"] if TRAINS in outcomes else []) + ([f"refused{notes}"] if refused else [])
    return ", ".join(words)


def _reason(refusal: CompositionError, strategies: Sequence[str]) -> str:
    rivals = " and ".join(map(repr, strategies))
    if rivals in refusal.found:
        return refusal.found.replace(rivals, "they")
    return f"{refusal.who}: {refusal.found}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
