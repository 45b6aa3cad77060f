"""Templates: how the name of a class is put into words, as people write them."""

from collections.abc import Callable, Sequence
from functools import cache
from string import Formatter
from typing import TypeAlias

from mmcl.errors import ConfigError

PHOTO = "a photo of a {}."

Template: TypeAlias = str | Callable[[str], str]

_PLACE = "\ue000"  # from the private use area: no template contains it
_PROBES = ("apple", "Zebra", "x_y, z")


def templates_of(templates: Template | Sequence[Template] | None) -> tuple[str, ...]:
    """Templates as texts with one ``{}`` each.

    Args:
        templates: one or several; each a text with one place for the name, ``{}``, ``{0}`` or ``{word}``, or a function
            from name to prompt, as OpenAI and open_clip have them. ``None`` stands for CLIP's usual prompt.

    Raises:
        ConfigError: if there is none, one has no place or several, or the place asks for more than the name.
    """
    if templates is None:
        return (PHOTO,)
    several = [templates] if isinstance(templates, str) or callable(templates) else templates
    if not isinstance(several, Sequence) or not several:
        raise _refused(f"{templates!r}", "a list of at least one template")
    strange = [template for template in several if not isinstance(template, str) and not callable(template)]
    if strange:
        raise _refused(f"{strange[0]!r}, which is no text")
    return tuple(_of_text(template) if isinstance(template, str) else _of_function(template) for template in several)


@cache
def _of_text(template: str) -> str:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise _refused(f"{template!r}", "texts in which every brace has its partner") from error
    places = [piece[1:] for piece in pieces if piece[1] is not None]
    if len(places) != 1:
        raise _refused(f"{template!r}, with {len(places) or 'no'} place{'s' * (len(places) > 1)} for the name")
    name, form, conversion = places[0]
    if form or conversion or (not (name or "0").isidentifier() and not (name or "0").isdecimal()):
        raise _refused(f"{template!r}, which asks for more than the name")
    return "".join(_literal(text) + "{}" * (field is not None) for text, field, *_ in pieces)


def _of_function(function: Callable[[str], str]) -> str:
    try:
        template = _of_text(_literal(function(_PLACE)).replace(_PLACE, "{}"))
        plain = all(function(word) == template.format(word) for word in _PROBES)
    except ConfigError:
        raise
    except Exception as error:
        raise _refused(f"a function that fails with {type(error).__name__}: {error}") from error
    if not plain:
        raise _refused("a function whose prompts are not one text around the name")
    return template


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _refused(found: str, allowed: str = "texts with one {} each, where the name of the class stands") -> ConfigError:
    return ConfigError("templates", found=found, allowed=allowed, remedy="For example: templates=['a photo of a {}.'].")
