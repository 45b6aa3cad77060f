"""Compatibility: every composition of one or two strategies, tried on every scenario in miniature.

A composition either learns a toy stream or is refused with a reason; anything else is a defect and raises.
``docs/compatibility.md`` is the page that ``Compatibility.markdown`` writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations

from mmcl.build import backbone, strategy, surroundings
from mmcl.errors import CompositionError
from mmcl.learning.composition import check_composition
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import names_backbones
from mmcl.registry import BACKBONES, STRATEGIES, entries, load
from mmcl.streams.scenario import SCENARIOS
from mmcl.testing.toy import toy_benchmark, toy_learner

TRAINS = ""
_GROUPS = (STRATEGIES, BACKBONES)
_INTRODUCTION = """# Compatibility

Which strategies train on which scenario and backbone, and which train together. Every cell was tried: a composition
learns a toy stream of that scenario (two experiences; three where modalities change: images, then texts, then both with
some missing), or it is refused with the reason in the footnote before anything is loaded. On backbones whose weights
would have to be downloaded or are large, a random miniature of the same classes stands in for them.

`mmcl explain A B --benchmark NAME` says the same of any composition, with options and in any number.
"""


@cache
def attempt(strategies: tuple[str, ...], scenario: str, on: str) -> str:
    """What comes out on the backbone of a name; tried once in a process."""
    return try_out(strategies, scenario, backbone(on))


def try_out(strategies: Sequence[str], scenario: str, plugin: BackbonePlugin) -> str:
    """Let a composition learn a toy stream on the miniature of a backbone.

    Returns:
        ``TRAINS``, or the reason of the refusal.
    """
    built = {name: strategy(name).miniature() for name in strategies}
    kind = SCENARIOS[scenario]
    benchmark = toy_benchmark(kind, experiences=3 if kind.modalities_change else 2, per_class=3)
    try:
        check_composition(list(built.values()), list(built), surroundings(plugin, benchmark, reference_data=True))
    except CompositionError as refusal:
        return _reason(refusal, strategies)
    learner = toy_learner(benchmark, built, backbone=plugin.miniature(), iterations=2)
    for experience in benchmark.train:
        learner.train(experience)
    return TRAINS


@dataclass(frozen=True)
class Compatibility:
    """The outcomes of all attempts with these strategies, in the order of rows and columns, on these backbones."""

    strategies: Sequence[str]
    backbones: Sequence[str]

    @classmethod
    def of(cls, distribution: str) -> "Compatibility":
        """All that a distribution registers; backbones that are made of others do what those do."""
        own = {
            group: [entry.name for entry in entries(group) if entry.distribution == distribution] for group in _GROUPS
        }
        return cls(own[STRATEGIES], [name for name in own[BACKBONES] if not _is_made_of_others(name)])

    def markdown(self) -> str:
        """The page: one table of single strategies per backbone, one of pairs, and the reasons of refusals."""
        reasons: dict[str, int] = {}
        page = [_INTRODUCTION]
        for name in self.backbones:
            page.append(f"## One strategy, on `{name}`\n")
            rows = [
                [one, *(_cell([attempt((one,), scenario, name)], reasons) for scenario in SCENARIOS)]
                for one in self.strategies
            ]
            page.append(_table(["", *SCENARIOS], rows))
        page.append("## Two strategies\n")
        page.append("On every scenario on which both train alone; no strategy is named twice.\n")
        rows = [
            [one, *(_cell(self._together(one, other), reasons) for other in self.strategies)] for one in self.strategies
        ]
        page.append(_table(["", *self.strategies], rows))
        page.append("\n".join(f"[^{number}]: {reason}." for reason, number in reasons.items()) + "\n")
        return "\n".join(page)

    def host(self, scenario: str) -> str:
        """The first backbone that serves a scenario at all."""
        serving = [name for name in self.backbones if attempt((), scenario, name) == TRAINS]
        return (serving or list(self.backbones))[0]

    def _together(self, one: str, other: str) -> list[str]:
        if one == other:
            return ["a strategy is named once in a composition"]
        pair = (one, other) if self.strategies.index(one) < self.strategies.index(other) else (other, one)
        possible = [s for s in SCENARIOS if all(attempt((n,), s, self.host(s)) == TRAINS for n in pair)]
        return [attempt(pair, scenario, self.host(scenario)) for scenario in possible or SCENARIOS]


def _is_made_of_others(name: str) -> bool:
    kind = load(BACKBONES, name)
    return any(names_backbones(kind, option.name) for option in fields(kind))


def compositions(strategies: Iterable[str]) -> list[tuple[str, ...]]:
    """Each strategy alone, then each pair."""
    names = list(strategies)
    return [(name,) for name in names] + list(combinations(names, 2))


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
