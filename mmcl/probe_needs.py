"""What a probe needs: pairs of images and texts, and towers for both, known before anything is read."""

from mmcl.config import RunConfig
from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.learning.compose import Surroundings


def needed_by(answers: AnswerKind | None) -> frozenset[str]:
    """What a sample must have; where it has a class, that is put into words."""
    return frozenset({IMAGE, TEXT} if answers is AnswerKind.PARTNER else {IMAGE})


def check_probe(config: RunConfig, around: Surroundings) -> None:
    """Refuse a probe where there are no pairs of images and texts, or nothing that encodes them.

    Raises:
        ConfigError: naming what is needed.
    """
    if not config.probe:
        return
    for who, has, needed, remedy in (
        (
            f"backbone {config.backbone.name!r}",
            around.encodes,
            frozenset({IMAGE, TEXT}),
            "Choose a CLIP-like backbone, such as glyph-clip, or leave the probe out.",
        ),
        (
            f"benchmark {config.benchmark.name!r}",
            around.modalities,
            needed_by(around.answers),
            "Choose a benchmark of images with classes or texts, or leave the probe out.",
        ),
    ):
        if has is not None and not needed <= has:
            raise ConfigError(
                f"probe = {config.probe}",
                found=f"{who} has {' and '.join(sorted(has))}",
                allowed=f"one that has {' and '.join(sorted(needed))}",
                remedy=remedy,
            )
