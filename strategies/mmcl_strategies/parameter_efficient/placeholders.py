"""Placeholders: words in a class's text whose embedded vectors learned ones take the places of."""

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.errors import CompositionError, ConfigError
from mmcl.models.backbone import Backbone

PLACEHOLDER = "X"


def frame(context: int) -> str:
    """The words around every name: placeholders for the context, and a full stop."""
    return f"{' '.join([PLACEHOLDER] * context)} {{}}."


def require_room(backbone: Backbone, space: LabelSpace, context: int, *, option: str) -> None:
    """Refuse texts in which the context has no room beside the names, or cannot be put in place of its placeholders.

    Args:
        backbone: whose text tower reads them.
        space: the classes.
        context: number of placeholders.
        option: ``strategy.option``, which says it.

    Raises:
        ConfigError: if the text tower is too short.
        CompositionError: if its tokeniser does not write every placeholder as one token behind a start.
    """
    end, names = backbone.vocabulary.end, [f"{name}." for name in space.names]
    lengths = (backbone.tokenize(names) == end).int().argmax(1) + 1
    longest = int(lengths.argmax())
    room = backbone.specs[TEXT].shape[0] - int(lengths[longest])
    if context > room:
        raise ConfigError(
            option,
            found=f"{context} words, and the class {space.names[longest]!r} leaves room for {room} in the text tower",
            allowed=f"1 to {room} with this backbone and these names" if room > 0 else "shorter names",
            remedy="Choose a shorter context, or a backbone that reads longer texts.",
        )
    words = backbone.tokenize([frame(context).format(name) for name in space.names])[:, : context + 1]
    if bool((words[:, 1:] != words[0, 1]).any()) or bool((words[:, 0] == words[0, 1]).any()):
        raise CompositionError(
            f"strategy {option.partition('.')[0]!r}",
            found=f"the backbone's tokeniser does not write {PLACEHOLDER!r} as one token behind a start token",
            allowed="backbones whose texts begin with a start token, such as CLIP's",
            remedy="Choose another backbone, such as glyph-clip.",
        )
