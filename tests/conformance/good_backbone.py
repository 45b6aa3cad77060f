"""A backbone that keeps every promise, to be sabotaged one promise at a time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor, resize

from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Tower
from mmcl.models.sites import Site

LENGTH = 12


def pixels(image: Any) -> Tensor:
    return resize(pil_to_tensor(image), [8, 8]).float() / 255


def letters(text: str) -> Tensor:
    row = [1 + byte % 50 for byte in text.encode()[:LENGTH]]
    return torch.tensor(row + [0] * (LENGTH - len(row)))


class Towers(Backbone):
    """A linear image tower and a bag of letters, each through a block of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width_of_all = width
        self.specs = {IMAGE: ModalitySpec((3, 8, 8)), TEXT: ModalitySpec((LENGTH,), torch.int64)}
        self.preprocess_train = self.preprocess_eval = {IMAGE: pixels, TEXT: letters}
        self.image = nn.Sequential(nn.Linear(48, width), nn.Tanh())
        self.embedding = nn.Embedding(51, width)
        self.text = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        modules = {IMAGE: self.image, TEXT: self.text}
        self.towers = {name: Tower(module, frozenset({name}), width) for name, module in modules.items()}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        value = patches(inputs[name]) if name == IMAGE else self.embedding(inputs[name])
        tokens = self.towers[name].module(value)
        return Features(tokens.mean(1), tokens)

    def sites(self, tower: str) -> Sequence[Site]:
        first, last = self.towers[tower].module.children()
        return [Site("block", 0, first, last, self.width_of_all)]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([letters(text) for text in texts])

    @property
    def token_embedding(self) -> nn.Module:
        return self.embedding

    @property
    def logit_scale(self) -> Tensor:
        return torch.full((), 10.0)

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"width": self.width_of_all}))
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / "weights")


class Together(Towers):
    """The same, in one tower that reads both."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.joint = nn.Sequential(self.image, self.text)
        del self.image, self.text
        self.towers = {"joint": Tower(self.joint, frozenset({IMAGE, TEXT}), width)}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.seen(IMAGE, inputs) + self.seen(TEXT, inputs))

    def seen(self, modality: str, inputs: Inputs) -> Tensor:
        image, text = self.joint
        tokens = image(patches(inputs[IMAGE])) if modality == IMAGE else text(self.embedding(inputs[TEXT]))
        return tokens.mean(1) * inputs.present[modality].unsqueeze(1)

    def sites(self, tower: str) -> Sequence[Site]:
        return [Site("block", layer, part[0], part[1], self.width_of_all) for layer, part in enumerate(self.joint)]


def patches(image: Tensor) -> Tensor:
    return image.unflatten(-1, (4, 2)).flatten(1, 2).transpose(1, 2).flatten(2)  # [B, 4, 48]


def seeded(kind: Callable[[], Towers]) -> Towers:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind()


@dataclass(kw_only=True)
class GoodBackbone(BackbonePlugin):
    """Two towers with random weights, under no licence at all."""

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    weights: str | None = None  # a folder that ``export`` wrote

    def build(self) -> Towers:
        towers = self.miniature()
        if self.weights is not None:
            towers.load_state_dict(load_file(Path(self.weights) / "weights"))
        return towers

    def of_export(self, folder: Path) -> BackbonePlugin:
        return type(self)(weights=str(folder))

    def miniature(self) -> Towers:
        return seeded(Towers)


def plugin(miniature: Callable[[], Any], **facts: Any) -> type:
    """A plugin class like the good one, with another miniature."""
    name = facts.pop("name", None) or miniature.__name__
    namespace = {
        "__module__": __name__,
        "__doc__": GoodBackbone.__doc__,
        "__annotations__": {"weights": str | None},
        "modalities": GoodBackbone.modalities,
        "weights": None,
        "miniature": lambda self: miniature(),
        "build": GoodBackbone.build,
        "of_export": GoodBackbone.of_export,
        **facts,
    }
    return dataclass(kw_only=True)(type(name, (BackbonePlugin,), namespace))
