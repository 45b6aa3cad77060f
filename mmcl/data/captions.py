"""Captions: one text, or several that each say what a sample is.

A sample with several has a list. A training read takes one of them by chance, from the generators that the draw of the
sample has seeded; an un-augmented read takes the first. Retrieval asks with each of them (``EachCaption``).
"""

import random
from collections.abc import Sequence
from typing import Any

from mmcl.errors import DataError


def captions_of(value: Any, who: str) -> str | list[str]:
    """A text, or several texts as a list; empty ones are left out, and a list of one is a text.

    Args:
        value: a text, or a list, tuple or array of texts.
        who: for the sentence of an error.

    Raises:
        DataError: if it is something else.
    """
    listed = value.tolist() if hasattr(value, "tolist") else value
    said = [listed] if isinstance(listed, str) else listed
    texts = [text for text in said if text is not None] if isinstance(said, Sequence) else [said]
    if not all(isinstance(text, str) for text in texts) or isinstance(said, bytes):
        odd = next((text for text in texts if not isinstance(text, str)), value)
        raise DataError(
            who,
            found=f"a text of type {type(odd).__name__}",
            allowed="a text, or a list of texts",
            remedy="Turn it into words, with str(...) in the data set.",
        )
    filled = [text for text in texts if text.strip()]
    return filled[0] if len(filled) == 1 else filled


def one_of(value: Any, drawn: bool) -> Any:
    """The text that is read of several; any other value as it is."""
    if not isinstance(value, list):
        return value
    return random.choice(value) if drawn else value[0]
