"""Remarks: what a run was told and went on with. They are warnings while it runs, and stay in its results."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmcl.escaping import plain_lines


class Remark(UserWarning):
    """Something that is allowed and may not be what was meant; the sentence says what to do about it."""


class Remarks:
    """The remarks of one run, each said once.

    Args:
        known: what was said before an interruption; it is kept and not said again.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._sentences = dict.fromkeys(known)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sentences)

    def __len__(self) -> int:
        return len(self._sentences)

    def add(self, sentence: str) -> None:
        """Warn, and keep the sentence."""
        if sentence not in self._sentences:
            self._sentences[sentence] = None
            warnings.warn(sentence, Remark, stacklevel=2)

    def keep(self, sentences: Iterable[str]) -> None:
        """Keep what has been said elsewhere."""
        self._sentences |= dict.fromkeys(sentences)


def show_as_sentences() -> None:
    """Let remarks be printed without the line of the source that made them, which is of no use to their readers."""
    warnings.formatwarning = sentence_or(warnings.formatwarning)


def sentence_or(usual: Callable[..., str]) -> Callable[..., str]:
    """How a warning is printed: remarks as sentences, others as usual."""

    def line(message: Warning | str, category: type[Warning], *place: Any) -> str:
        return f"note: {plain_lines(message)}\n" if issubclass(category, Remark) else usual(message, category, *place)

    return line
