"""Remarks: what a run was told and went on with. They are warnings while it runs, and stay in its results."""

import warnings
from collections.abc import Iterable, Iterator


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
