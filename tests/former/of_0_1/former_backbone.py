"""Former backbone: an image tower, a text tower, and the plugin that builds them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import transforms

from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.errors import ConfigError
from mmcl.models.backbone import Backbone, BackbonePlugin, Features
from mmcl.options import Width

SIZE = 32  # of images, in pixels
LENGTH = 64  # of texts, in bytes
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class TextTower(nn.Module):
    """A layer over bytes and their positions, then the mean over the bytes that are there."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.bytes = nn.Embedding(257, width, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.layer = nn.Linear(width, width)
        self.projection = nn.Linear(width, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``int64[B, L]`` -> ``float[B, D]``; token 0 is padding."""
        there = (tokens > 0).unsqueeze(-1)
        hidden = nn.functional.gelu(self.layer(self.bytes(tokens) + self.positions[: tokens.shape[1]])) * there
        pooled: Tensor = self.projection(hidden.sum(1) / there.sum(1).clamp(min=1))
        return pooled


class Towers(Backbone):
    """Image and text towers side by side.

    Args:
        width: of the hidden layers.
        embed_dim: D, of the features.
    """

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.config = {"width": width, "embed_dim": embed_dim}
        self.embed_dim = embed_dim
        self.specs = {IMAGE: ModalitySpec((3, SIZE, SIZE)), TEXT: ModalitySpec((LENGTH,), torch.int64)}
        finish = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)]
        crop = transforms.RandomResizedCrop(SIZE, scale=(0.8, 1.0))
        resize = transforms.Resize((SIZE, SIZE))
        self.preprocess_train = {IMAGE: transforms.Compose([_rgb, crop, *finish]), TEXT: _tokens}
        self.preprocess_eval = {IMAGE: transforms.Compose([_rgb, resize, *finish]), TEXT: _tokens}
        self.image = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=4, stride=4),
            nn.GELU(),
            nn.Conv2d(width, width, kernel_size=2, stride=2),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, embed_dim),
        )
        self.text = TextTower(width, embed_dim)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode(self, modality: str, value: Tensor) -> Features:
        """``image``: ``float[B, 3, H, W]``; ``text``: ``int64[B, L]``; both -> ``[B, D]``, not normalised."""
        return Features(self.tower(modality)(value))

    def tower(self, modality: str) -> nn.Module:
        """The module of one modality."""
        return self.image if modality == IMAGE else self.text

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """UTF-8 bytes plus one, cut or padded with zeros to ``int64[N, LENGTH]``."""
        return torch.stack([_tokens(text) for text in texts])

    @property
    def logit_scale(self) -> Tensor:
        """``exp`` of the stored parameter."""
        return self.log_logit_scale.exp()

    def export(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, which the option ``weights`` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(self.config) + "\n", encoding="utf-8")
        values = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(values, folder / WEIGHTS)


@dataclass(kw_only=True)
class FormerBackbone(BackbonePlugin):
    """Former backbone: two small towers, convolutions over image patches and a bag of bytes.

    Paper: an example to start from. Name authors, title, venue and year, and the official code.
    Weights: random, or those of a folder that ``export`` wrote. Say where yours come from, under which licence, and
    what the model has been trained on.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    width: Width = 64  # of the hidden layers
    embed_dim: Width = 64  # D, of the features
    weights: str | None = None  # folder with config.json and model.safetensors

    def build(self) -> Towers:
        """The same random weights every time, or the stored ones.

        Raises:
            ConfigError: if the folder lacks a file.
        """
        if self.weights is None:
            return _random(self.width, self.embed_dim)
        folder = Path(self.weights)
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            raise ConfigError(
                f"backbone 'former-backbone:{self.weights}'",
                found=f"no {CONFIG} or no {WEIGHTS} in {folder}",
                allowed="a folder that 'export' wrote",
                remedy="Correct the path, or leave it out for random weights.",
            )
        towers = Towers(**json.loads((folder / CONFIG).read_text("utf-8")))
        towers.load_state_dict(load_file(folder / WEIGHTS))
        return towers

    def of_export(self, folder: Path) -> "FormerBackbone":
        """The same class reads it."""
        return FormerBackbone(weights=str(folder))

    def miniature(self) -> Towers:
        """The same class, as small as it gets, for tests."""
        return _random(8, 8)


def _random(width: int, embed_dim: int) -> Towers:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Towers(width, embed_dim)


# preprocessing in named functions, so that worker processes can receive it


def _rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _tokens(text: str) -> Tensor:
    row = [byte + 1 for byte in text.encode()[:LENGTH]]
    return torch.tensor(row + [0] * (LENGTH - len(row)))
