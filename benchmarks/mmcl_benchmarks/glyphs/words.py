"""The words of symbol names: ``dots-1245`` is ``dots``, ``1``, ``2``, ``4``, ``5``."""

import re

_WORD = re.compile(r"[a-z]+|[0-9]")


def words(name: str) -> tuple[str, ...]:
    """Lower-case alphabetic words and single digits of a symbol name, in order."""
    return tuple(_WORD.findall(name.lower()))
