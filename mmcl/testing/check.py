"""Conformance: what every plugin promises, checked one promise at a time.

    check_strategy("my_idea")                        # raises ConformanceError at the first broken promise

    @parametrize_checks("my_idea")                   # one test per promise
    def test_my_idea_keeps_its_promises(check, plugin):
        check(plugin)

    mmcl check my_idea                               # a line per promise

A plugin is named as on the command line (``ewc``, ``ewc:samples=10``, ``package.module:Class``), or given as a class or
as an object; every check works on fresh objects with the same options.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from unittest import SkipTest

from mmcl.arguments import parse_of
from mmcl.build import build_plugin
from mmcl.errors import MMCLError
from mmcl.options import instantiate
from mmcl.registry import STRATEGIES, kind_of, name_of

T = TypeVar("T")


class ConformanceError(MMCLError, AssertionError):
    """A plugin breaks a promise. The sentence names the check, the plugin, what was seen and what to do."""


class NotApplicable(SkipTest):
    """A promise that this plugin does not make; pytest shows it as skipped, with the reason."""


class BrokenPromiseError(Exception):
    """What a check has seen and what to do about it."""

    def __init__(self, seen: str, remedy: str) -> None:
        self.seen, self.remedy = seen, remedy
        super().__init__(seen)


@dataclass(frozen=True, eq=False)
class Subject:
    """A plugin under examination.

    Attributes:
        name: as the user wrote it, or the class's registered name.
        group: the entry-point group of its kind.
        plugin: an object that is never used itself.
    """

    name: str
    group: str
    plugin: Any
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def fresh(self, **changes: Any) -> Any:
        """A new object with the same options, apart from ``changes``."""
        return replace(self.plugin, **changes)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` returns, computed for the first check that asks; the others must leave it as it is."""
        if key not in self._kept:
            self._kept[key] = compute()
        value: T = self._kept[key]
        return value


@dataclass(frozen=True)
class Check:
    """One promise; calling it with a plugin examines it.

    Attributes:
        name: short, for tables and test ids.
        promise: the sentence that must hold.
        examine: raises ``BrokenPromiseError``, ``NotApplicable`` or whatever the plugin raises.
    """

    name: str
    promise: str
    examine: Callable[[Subject], None]

    def __call__(self, plugin: Subject) -> None:
        """Examine a plugin.

        Raises:
            ConformanceError: if the promise is broken or the plugin raises.
            NotApplicable: if the plugin does not make it.
        """
        try:
            self.examine(plugin)
        except NotApplicable:
            raise
        except BrokenPromiseError as broken:
            raise self._error(plugin, broken.seen, broken.remedy) from broken.__cause__
        except Exception as error:
            remedy = "The traceback above this error shows where."
            raise self._error(plugin, f"{type(error).__name__}: {error}", remedy) from error

    def _error(self, plugin: Subject, seen: str, remedy: str) -> ConformanceError:
        return ConformanceError(
            f"check {self.name!r} of {kind_of(plugin.group)} {plugin.name!r}",
            found=seen.rstrip("."),
            allowed=self.promise[0].lower() + self.promise[1:].rstrip("."),
            remedy=remedy,
        )


def promise(examine: Callable[[Subject], None]) -> Check:
    """Make a check of a function: its name with blanks, and as promise the first sentence of its docstring."""
    sentence = " ".join((examine.__doc__ or "").partition("\n\n")[0].split())
    return Check(examine.__name__.replace("_", " "), sentence, examine)


@dataclass(frozen=True)
class Outcome:
    """What came out of one check: ``error`` if the promise is broken, ``skipped`` if it is not made."""

    check: Check
    error: ConformanceError | None = None
    skipped: str = ""


def outcomes(checks: Iterable[Check], plugin: Subject) -> Iterator[Outcome]:
    """Examine one promise after the other, whatever comes out."""
    for check in checks:
        try:
            check(plugin)
        except NotApplicable as reason:
            yield Outcome(check, skipped=str(reason))
        except ConformanceError as error:
            yield Outcome(check, error=error)
        else:
            yield Outcome(check)


def require(checks: Iterable[Check], plugin: Subject) -> None:
    """Examine all promises and stop at the first broken one.

    Raises:
        ConformanceError: naming check, plugin, what was seen and what to do.
    """
    for outcome in outcomes(checks, plugin):
        if outcome.error is not None:
            raise outcome.error


def subject_of(plugin: Any, group: str) -> Subject:
    """A name, class or object as a subject; of a strategy its miniature.

    Raises:
        PluginError: if there is no such plugin.
        ConfigError: if its options are wrong or a required one is missing.
    """
    if isinstance(plugin, Subject):
        return plugin
    if isinstance(plugin, str):
        name, made = plugin, build_plugin(group, parse_of(group, plugin))
    elif isinstance(plugin, type):
        name = name_of(group, plugin)
        made = instantiate(plugin, {}, name)
    else:
        name, made = name_of(group, type(plugin)), plugin
    return Subject(name, group, made.miniature() if group == STRATEGIES else made)
