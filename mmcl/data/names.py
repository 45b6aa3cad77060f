"""Names of classes as people mean them."""

import unicodedata
from collections.abc import Iterable


def plain_name(name: str) -> str:
    """The form in which two names are compared: ``"Red_Fox "`` and ``"red fox"`` are one class.

    Unicode in its compatibility form (NFKC), without case; underscores, hyphens and runs of white space are one blank.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())


def namesakes(names: Iterable[str]) -> tuple[int, int] | None:
    """Positions of the first two names that mean the same; ``None`` if there are none."""
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        if first.setdefault(plain_name(name), position) != position:
            return first[plain_name(name)], position
    return None


def some(names: Iterable[str], shown: int = 5) -> str:
    """The first few names in quotes, and how many more there are."""
    every = list(names)
    listed = ", ".join(map(repr, every[:shown]))
    return listed if len(every) <= shown else f"{listed} and {len(every) - shown} more"
