"""Sentences that nobody wrote, as a text tower reads them."""

from jaxtyping import Int
from torch import Tensor

from mmcl.errors import ConfigError
from mmcl.models.backbone import Vocabulary


def sentences_of(ids: Int[Tensor, "n L"], vocabulary: Vocabulary, context: int) -> Int[Tensor, "n {context}"]:
    """Sentences with given tokens: start, the ids, end, padding.

    Args:
        ids: an end among them ends the sentence early, because the tower pools there.
        vocabulary: which ids start, end and fill a sentence.
        context: length of a row.

    Raises:
        ConfigError: if a row is too short for the ids.
    """
    count, length = ids.shape
    if length > context - 2:
        raise ConfigError(
            "made-up sentences",
            found=f"a length of {length} tokens",
            allowed=f"up to {context - 2}: the text tower reads {context} tokens, start and end included",
            remedy="Choose a smaller 'length'.",
        )
    sentences = ids.new_full((count, context), vocabulary.padding)
    sentences[:, 0] = vocabulary.start
    sentences[:, 1 : length + 1] = ids
    sentences[:, length + 1] = vocabulary.end
    return sentences
