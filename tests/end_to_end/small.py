"""A backbone that learns in no time."""

from dataclasses import dataclass
from typing import ClassVar

from mmcl.backbones.openclip import tiny_clip
from mmcl.models.backbone import Backbone, BackbonePlugin


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    """A random CLIP in miniature."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image", "text"})

    def build(self) -> Backbone:
        return tiny_clip()


SMALL = f"{__name__}:{Small.__name__}"  # as the command line names it
