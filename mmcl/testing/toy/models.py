"""Miniature backbones that lack something: what works without texts, or without images, is tried on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from mmcl.backbones.open_clip_sites import sites_of_transformer
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone, Features, Tower, Vocabulary
from mmcl.models.sites import Site


class ImageTower(Backbone):
    """The image tower of a random miniature CLIP, with the layers that make auxiliary passes dangerous.

    Batch norm before it and dropout behind it: who passes data through it in training mode leaves a trace.
    """

    def __init__(self) -> None:
        super().__init__()
        clip = tiny_clip()
        self.specs = {IMAGE: clip.specs[IMAGE]}
        self.preprocess_train = {IMAGE: clip.preprocess_train[IMAGE]}
        self.preprocess_eval = {IMAGE: clip.preprocess_eval[IMAGE]}
        self.layers = nn.Sequential(nn.BatchNorm2d(3), clip.towers[IMAGE].module, nn.Dropout(0.1))
        self.towers = {IMAGE: Tower(self.layers, frozenset({IMAGE}), clip.width)}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """Pooled features of images."""
        return Features(self.layers(inputs[IMAGE]))

    def sites(self, tower: str) -> list[Site]:
        """Those of the image transformer."""
        return list(sites_of_transformer(self, self.layers[1], tower))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """There is no text."""
        return _refuse(TEXT)

    @property
    def logit_scale(self) -> Tensor:
        """Cosines are scores as they are: 1."""
        return torch.ones(())

    def export(self, folder: Path) -> None:
        """It is for tests only."""
        _refuse("a file")


class TextTower(Backbone):
    """The text tower of a random miniature CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = tiny_clip()
        self.clip.towers[IMAGE].module.requires_grad_(False)
        self.specs, self.towers = {TEXT: self.clip.specs[TEXT]}, {TEXT: self.clip.towers[TEXT]}
        self.preprocess_train = {TEXT: self.clip.preprocess_train[TEXT]}
        self.preprocess_eval = {TEXT: self.clip.preprocess_eval[TEXT]}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """Pooled features of texts."""
        return self.clip.encode_tower(name, inputs)

    def sites(self, tower: str) -> list[Site]:
        """Those of the transformer."""
        return self.clip.sites(tower)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """As the CLIP does."""
        return self.clip.tokenize(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        """Size of the vocabulary, as the CLIP has it."""
        return self.clip.vocabulary

    @property
    def token_embedding(self) -> nn.Module:
        """The embedding of tokens, as the CLIP has it."""
        return self.clip.token_embedding

    @property
    def logit_scale(self) -> Tensor:
        """Cosines are scores as they are: 1."""
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
