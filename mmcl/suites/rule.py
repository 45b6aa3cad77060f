"""Rule: what is different in some cells of a suite, or which of them are left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmcl.errors import ConfigError, nearest
from mmcl.suites.choice import Choice


@dataclass(frozen=True)
class Rule:
    """A table ``[[cell]]``: which cells, and what is different in them. What it does not name may be anything."""

    benchmark: str | tuple[str, ...] = ()
    backbone: str | tuple[str, ...] = ()
    strategy: str | tuple[str, ...] = ()
    seed: int | tuple[int, ...] = ()
    leave_out: bool = False
    set: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Which cells it names."""
        named = {name: getattr(self, name) for name in ("benchmark", "backbone", "strategy", "seed")}
        return ", ".join(f"{name} = {value!r}" for name, value in named.items() if value != ()) or "all"

    @property
    def settings(self) -> dict[str, Any]:
        """``set.ewc.strength = 3`` is a table in a table, and the path ``ewc.strength``."""
        return dict(_paths(self.set))

    def holds(self, benchmark: Choice, backbone: Choice, strategy: Choice, seed: int) -> bool:
        """Whether it is about this cell."""
        named = ((self.benchmark, benchmark), (self.backbone, backbone), (self.strategy, strategy))
        return all(not wanted or not choice.names.isdisjoint(_listed(wanted)) for wanted, choice in named) and (
            self.seed == () or seed in _listed(self.seed)
        )


def require_choices(
    rule: Rule, benchmarks: Sequence[Choice], backbones: Sequence[Choice], strategies: Sequence[Choice], who: str
) -> None:
    """Refuse a rule about something that the suite does not have, and one that does nothing.

    Raises:
        ConfigError: naming what is there instead.
    """
    for kind, wanted, choices in (
        ("benchmark", rule.benchmark, benchmarks),
        ("backbone", rule.backbone, backbones),
        ("strategy", rule.strategy, strategies),
    ):
        known = {name for choice in choices for name in choice.names}
        for name in _listed(wanted):
            if name not in known:
                raise ConfigError(
                    f"{who} [[cell]].{kind}",
                    found=f"{name!r}, which the suite does not have",
                    allowed=", ".join(sorted(known)) or f"none: it has no [[{kind}]]",
                    remedy=nearest(name, known),
                )
    if not rule.set and not rule.leave_out:
        raise ConfigError(
            f"{who} [[cell]]",
            found="a table that changes nothing",
            allowed="set.KEY = VALUE, or leave_out = true",
            remedy="Say what is different in these cells, or remove the table.",
        )
    if "seed" in rule.set:
        raise ConfigError(
            f"{who} [[cell]].set",
            found="a seed, by which cells are called",
            allowed="seeds in [suite]",
            remedy="Add the seed there and leave out the cells that should not have it.",
        )


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _paths(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
