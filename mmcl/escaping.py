"""Escaping: what comes from data is shown as it is, and is no code to whatever shows it.

Names of classes and experiences, options, captions and reasons for errors come from files of other people. A terminal
obeys control characters, Markdown its signs, LaTeX commands, matplotlib dollar signs. Every place that shows something
asks this module.
"""

import re
import unicodedata

# control, format (which also turn the direction of writing), halves of characters, private, separators of lines
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # letters of several scripts, and composed pictures, are written with them

_MARKDOWN = re.compile(
    r"""[\\`|*~$]           # code, cells, emphasis, formulas
    | \](?=[(\[:])         # links and images
    | <(?=[A-Za-z/!?])     # tags
    | &(?=[\w#]+;)         # entities
    | (?<![^\W_])_ | _(?![^\W_])  # emphasis, which does not begin within a word""",
    re.VERBOSE,
)
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_LATEX |= {"<": r"$<$", ">": r"$>$"}


def plain(text: object) -> str:
    r"""One line of what can be seen; every other character as Python would write it, such as ``\x1b``."""
    return "".join(_seen(character) for character in str(text))


def plain_lines(text: object) -> str:
    """As ``plain``, in the lines that the text has."""
    return "\n".join(map(plain, str(text).split("\n")))


def markdown(text: object) -> str:
    """For a cell or a sentence in Markdown."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain(text))


def latex(text: object) -> str:
    """For a cell in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def _seen(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _UNSHOWN:
        return character
    return character.encode("unicode_escape").decode()
