"""Everything that this distribution registers keeps its promises."""

from functools import lru_cache
from pathlib import Path

import pytest

from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, entries
from mmcl.testing.check import Check, Subject, subject_of
from mmcl.testing.kit import CHECKS

VARIANTS = {  # options under which a strategy does something else
    STRATEGIES: (
        "ewc:fisher=exact,samples=4",
        "lwf:prompts=current,texts=frozen",
        "rail:form=dual",
        "replay:size=5,selection=class_balanced",
        "replay:keep=references",
        "zscl:consolidation=0,average_every=0",
    )
}


def names(group: str) -> list[str]:
    """All plugins of this distribution, and variants."""
    return [entry.name for entry in entries(group) if entry.distribution == "mmcl"] + list(VARIANTS.get(group, ()))


@lru_cache(maxsize=1)  # the checks of a plugin follow each other, and what it has trained is large
def subject(group: str, name: str) -> Subject:
    """One for all checks, which share what they have learned."""
    return subject_of(name, group)


CASES = [
    pytest.param(check, group, name, id=f"{name}-{check.name.replace(' ', '_')}")
    for group in (STRATEGIES, BENCHMARKS, BACKBONES)
    for name in names(group)
    for check in CHECKS[group]
]


@pytest.mark.parametrize(("check", "group", "name"), CASES)
def test_a_registered_plugin_keeps_its_promises(check: Check, group: str, name: str, cache: Path) -> None:
    check(subject(group, name))
