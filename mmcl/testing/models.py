"""Miniature backbones as plugins: random weights, real classes, a fraction of a second. For tests only."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.models.backbone import Backbone, BackbonePlugin, Features


@dataclass(kw_only=True)
class TinyCLIP(BackbonePlugin):
    """A random CLIP of 60 k parameters with open_clip's classes."""

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    seed: int = 0

    def build(self) -> OpenCLIPBackbone:
        """The same weights for the same seed."""
        return tiny_clip(self.seed)
