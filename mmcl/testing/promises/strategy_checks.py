"""What a strategy promises: all checks, and those that need no training."""

import inspect
import re
import sys
from difflib import get_close_matches
from typing import Any

from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import MemoryBudget, StrategyPlugin, Terms
from mmcl.learning.teachers import Policy
from mmcl.testing.check import BrokenPromiseError, Check, Subject, promise
from mmcl.testing.laboratory.trial import alone, composed
from mmcl.testing.promises.conduct_checks import CONDUCT_CHECKS
from mmcl.testing.promises.cost_checks import COST_CHECKS
from mmcl.testing.promises.data_checks import DATA_CHECKS
from mmcl.testing.promises.declaration_checks import DECLARATION_CHECKS
from mmcl.testing.promises.option_checks import OPTION_CHECKS
from mmcl.testing.promises.state_checks import STATE_CHECKS

HEADINGS = {
    "the paper": r"Papers?\b",
    "the idea": r"Idea\b",
    "the equation or the computation": r"(Equations?|Computation)\b",
    "what is kept between experiences": r"Kept between experiences\b",
    "deviations from the paper": r"Deviations?\b",
}
_HOOK = re.compile(r"(before|after)_\w+")


def text_of(kind: type) -> str:
    """The docstrings of the module and of a class: its card."""
    module = sys.modules[kind.__module__]
    own = vars(kind).get("__doc__") or ""
    # a dataclass without a docstring is given its signature for one
    own = "" if own.startswith(f"{kind.__name__}(") else own
    return f"{inspect.cleandoc(module.__doc__ or '')}\n\n{inspect.cleandoc(own)}"


def require_headings(kind: type, headings: dict[str, str]) -> None:
    """Refuse a card that lacks a line beginning with one of the headings, a colon and a text.

    Raises:
        BrokenPromiseError: naming the first one that is missing.
    """
    text = text_of(kind)
    for what, pattern in headings.items():
        if not re.search(rf"(^|[.;] ){pattern}[^:\n]*(\n[^:\n]+)?:\s*\S", text, re.MULTILINE):
            example = re.sub(r"\\b|[?()]", "", pattern).partition("|")[0]
            raise BrokenPromiseError(
                f"its card does not say {what}",
                f"Begin a line of the module's docstring with '{example}:'; 'mmcl show' prints it. Nothing to say is "
                "said as 'none'.",
            )


@promise
def card(strategy: Subject) -> None:
    """Its card names paper, idea, equation, what is kept between experiences, and deviations."""
    require_headings(type(strategy.plugin), HEADINGS)


@promise
def declarations(strategy: Subject) -> None:
    """What it declares has the form in which it is read."""
    plugin: StrategyPlugin = strategy.plugin
    facts: tuple[tuple[str, Any, bool, str], ...] = (
        ("slots", plugin.slots, _set_of(plugin.slots, Slot), "a frozenset of Slot"),
        ("needs", plugin.needs, _set_of(plugin.needs, Need), "a frozenset of Need"),
        ("requirements()", plugin.requirements(), _set_of(plugin.requirements(), Need), "a frozenset of Need"),
        ("teachers", plugin.teachers, _set_of(plugin.teachers, (str, Policy)), "a frozenset of names and policies"),
        ("rewrites_weights", plugin.rewrites_weights, isinstance(plugin.rewrites_weights, bool), "True or False"),
        ("closed_form", plugin.closed_form, isinstance(plugin.closed_form, bool), "True or False"),
        ("fixed_features", plugin.fixed_features, isinstance(plugin.fixed_features, bool), "True or False"),
        ("adapts", plugin.adapts, isinstance(plugin.adapts, bool), "True or False"),
        ("grows", plugin.grows, isinstance(plugin.grows, bool), "True or False"),
        ("terms()", plugin.terms(), isinstance(plugin.terms(), Terms) and _names(plugin.terms()), "Terms of names"),
        ("memory_budget()", plugin.memory_budget(), isinstance(plugin.memory_budget(), MemoryBudget), "MemoryBudget"),
    )
    for name, value, holds, allowed in facts:
        if not holds:
            raise BrokenPromiseError(f"{name} is {value!r}", f"Declare {allowed}.")


@promise
def hooks(strategy: Subject) -> None:
    """Every method that is named like a hook is one that is called."""
    for name, member in vars(type(strategy.plugin)).items():
        if callable(member) and _HOOK.fullmatch(name) and not hasattr(StrategyPlugin, name):
            known = [n for n in dir(StrategyPlugin) if _HOOK.fullmatch(n)]
            close = get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Begin its name with '_' if it is a helper."
            raise BrokenPromiseError(f"nobody calls {name!r}", hint)


@promise
def trains(strategy: Subject) -> None:
    """It learns every toy stream that it composes with."""
    for setting in composed(strategy):
        error = alone(strategy, setting).error
        if error is not None:
            raise BrokenPromiseError(
                f"in {setting} it raises {type(error).__name__}: {error}",
                "Declare what it needs, or make it work; the traceback above this error shows where.",
            ) from error


STRATEGY_CHECKS: tuple[Check, ...] = (
    card,
    *OPTION_CHECKS,
    declarations,
    hooks,
    trains,
    *DECLARATION_CHECKS,
    *DATA_CHECKS,
    *STATE_CHECKS,
    *CONDUCT_CHECKS,
    *COST_CHECKS,
)


def _set_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, frozenset) and all(isinstance(item, kind) for item in value)


def _names(terms: Terms) -> bool:
    return all(isinstance(name, str) for name in (*terms.loss, *terms.gradient))
