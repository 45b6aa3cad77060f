"""Errors that say who, what was found, what is allowed and what to do."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any


class MMCLError(Exception):
    """Base of every error a user can cause. The command line prints its sentence and exits with code 2.

    Args:
        who: the plugin, file, key or object concerned.
        found: what was found there.
        allowed: what would have been accepted.
        remedy: what to do next, as a sentence.
    """

    def __init__(self, who: str, *, found: str, allowed: str, remedy: str) -> None:
        self.who, self.found, self.allowed, self.remedy = who, found, allowed, remedy
        super().__init__(f"{who}: {found}. Allowed: {allowed}. {remedy}")

    def __reduce__(self) -> tuple[Callable[..., "MMCLError"], tuple[Any, ...]]:
        """What another process makes the same error of."""
        return _made, (type(self), self.who, self.found, self.allowed, self.remedy)


class ConfigError(MMCLError):
    """A key or value of a configuration, option or argument is wrong."""


class PluginError(MMCLError):
    """A strategy, benchmark or backbone cannot be found or loaded."""


class CompositionError(MMCLError):
    """Strategies, scenario, backbone and benchmark do not fit together."""


class DataError(MMCLError):
    """A data folder, file or sample is missing or unreadable."""


class CheckpointError(MMCLError):
    """A run folder cannot be written, read or continued."""


class TrainingError(MMCLError):
    """Training cannot go on, for example because a loss term is not finite."""


def _made(kind: type[MMCLError], who: str, found: str, allowed: str, remedy: str) -> MMCLError:
    return kind(who, found=found, allowed=allowed, remedy=remedy)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known names: ``Did you mean 'ewc'?``, or to choose one of them.

    Near is what is spelled alike, and what one shortens to the other: ``learning_rate`` and ``lr``.
    """
    known = sorted(known)
    short = [other for other in known if other == _initials(name) or name == _initials(other)]
    close = short or get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "Choose one of the allowed values."


def _initials(name: str) -> str:
    words = [word for word in name.replace("-", "_").split("_") if word]
    return "".join(word[0] for word in words) if len(words) > 1 else ""
