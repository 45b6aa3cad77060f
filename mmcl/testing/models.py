"""Miniature backbones that lack something: what works without texts, or without images, is tried on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone, Features, Vocabulary


class ImageTower(Backbone):
    """The image tower of a random miniature CLIP, with the layers that make auxiliary passes dangerous.

    Batch norm before it and dropout behind it: who passes data through it in training mode leaves a trace.
    """

    def __init__(self) -> None:
        super().__init__()
        clip = tiny_clip()
        self.embed_dim, self.specs = clip.embed_dim, {IMAGE: clip.specs[IMAGE]}
        self.preprocess_train = {IMAGE: clip.preprocess_train[IMAGE]}
        self.preprocess_eval = {IMAGE: clip.preprocess_eval[IMAGE]}
        self.layers = nn.Sequential(nn.BatchNorm2d(3), clip.tower(IMAGE), nn.Dropout(0.1))

    def encode(self, modality: str, value: Tensor) -> Features:
        """Features of images."""
        pooled: Tensor = self.tower(modality)(value)
        return Features(pooled)

    def tower(self, modality: str) -> nn.Module:
        """All layers."""
        return self.layers if modality == IMAGE else _refuse(modality)

    def blocks(self, modality: str) -> Sequence[nn.Module]:
        """The transformer's."""
        return list(self.layers[1].transformer.resblocks) if modality == IMAGE else _refuse(modality)  # type: ignore[union-attr, arg-type]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """There is no text."""
        return _refuse(TEXT)

    @property
    def logit_scale(self) -> Tensor:
        """One."""
        return torch.ones(())

    def export(self, folder: Path) -> None:
        """It is for tests only."""
        _refuse("a file")


class TextTower(Backbone):
    """The text tower of a random miniature CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = tiny_clip()
        self.clip.tower(IMAGE).requires_grad_(False)
        self.embed_dim, self.specs = self.clip.embed_dim, {TEXT: self.clip.specs[TEXT]}
        self.preprocess_train = {TEXT: self.clip.preprocess_train[TEXT]}
        self.preprocess_eval = {TEXT: self.clip.preprocess_eval[TEXT]}

    def encode(self, modality: str, value: Tensor) -> Features:
        """Features of texts."""
        return self.clip.encode(modality, value) if modality == TEXT else _refuse(modality)

    def tower(self, modality: str) -> nn.Module:
        """The transformer."""
        return self.clip.tower(modality) if modality == TEXT else _refuse(modality)

    def blocks(self, modality: str) -> Sequence[nn.Module]:
        """Its blocks."""
        return self.clip.blocks(modality) if modality == TEXT else _refuse(modality)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """As the CLIP does."""
        return self.clip.tokenize(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        """As the CLIP's."""
        return self.clip.vocabulary

    @property
    def token_embedding(self) -> nn.Module:
        """As the CLIP's."""
        return self.clip.token_embedding

    @property
    def logit_scale(self) -> Tensor:
        """As the CLIP's."""
        return self.clip.logit_scale

    def export(self, folder: Path) -> None:
        """It is for tests only."""
        _refuse("a file")


def _refuse(modality: str) -> NoReturn:
    raise PluginError(
        "a miniature backbone with one tower",
        found=f"it is asked for {modality!r}",
        allowed="what its one tower makes possible",
        remedy="A strategy that asks for more declares the need.",
    )
