"""A sabotage: a plugin that breaks one promise, and what the kit must say about it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmcl.testing.check import Check, outcomes, subject_of


@dataclass(frozen=True)
class Sabotage:
    """A class, the check that must fail, and a pattern that must be in its sentence."""

    plugin: type
    check: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.check}: {self.plugin.__name__}"


def broken(plugin: Any, group: str, checks: Iterable[Check]) -> dict[str, str]:
    """The sentence of every check that fails."""
    found = outcomes(checks, subject_of(plugin, group))
    return {outcome.check.name: str(outcome.error) for outcome in found if outcome.error is not None}


def require(sabotage: Sabotage, group: str, checks: Iterable[Check]) -> None:
    """That check fails, for that reason; the others of the kit would only take time."""
    failed = broken(sabotage.plugin, group, [check for check in checks if check.name == sabotage.check])
    assert list(failed) == [sabotage.check], failed
    sentence = failed[sabotage.check]
    assert re.search(sabotage.sentence, sentence), sentence
    assert sabotage.plugin.__name__ in sentence
    assert "Allowed: " in sentence
