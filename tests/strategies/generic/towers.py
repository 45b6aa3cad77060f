"""Two small towers, which note every call, with what makes auxiliary passes dangerous: dropout, batch norm, crops.

A row of pixels tells whether an image was augmented: ``preprocess_train`` writes AUGMENTED there, ``preprocess_eval``
PLAIN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features, Tower, Vocabulary
from mmcl.models.sites import ADDONS, Attention, Site

RAW, SIDE, CONTEXT, WIDTH, WORDS = 12, 8, 8, 8, 40  # pixels of a raw and of a prepared image; tokens; widths
AUGMENTED, PLAIN = 2.0, 0.0
BORDER, STEP, EVALUATION = "border", "step", "evaluation"


@dataclass(frozen=True)
class Call:
    """One call of ``encode``.

    Attributes:
        phase: when it was: in a training step, in an evaluation, or at either end of an experience.
        modality: what was encoded.
        value: a copy of it.
        training: whether any layer of the towers was in training mode.
        evaluating: whether any layer was in evaluation mode.
        frozen: whether no parameter needs a gradient, as in a teacher.
    """

    phase: str
    modality: str
    value: Tensor
    training: bool
    evaluating: bool
    frozen: bool

    @property
    def augmented(self) -> Tensor:
        """``bool[B]``, of images."""
        return self.value[:, 0, 0].mean(1) == AUGMENTED

    @property
    def plain(self) -> Tensor:
        """``bool[B]``, of images; what was generated is neither."""
        return self.value[:, 0, 0].abs().sum(1) == PLAIN


class Calls(list[Call]):
    """All calls of a backbone and of its copies, in order."""

    phase = BORDER

    def __deepcopy__(self, memo: dict[int, Any]) -> "Calls":
        return self


class Residual(nn.Module):
    """What enters at ``read``, and what is added to it at ``beside``: nothing of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.beside = nn.Identity(), nn.Identity()

    def forward(self, stream: Tensor) -> Tensor:
        added: Tensor = self.beside(torch.zeros_like(self.read(stream)))
        return stream + added


class Tokens(nn.Module):
    """``[B, C, H, W]`` as C tokens at ``place``, and the first C of what leaves ``outputs`` as ``[B, C H W]``."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.residual, self.outputs = nn.Identity(), Residual(), nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        tokens: Tensor = self.outputs(self.residual(self.place(maps.flatten(2))))
        return tokens[:, : maps.shape[1]].flatten(1)


class TextTower(nn.Module):
    """The mean over the tokens of a text, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, WIDTH)
        self.enter, self.leave = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.residual = Residual()
        self.norm, self.dropout = nn.BatchNorm1d(WIDTH), nn.Dropout(0.3)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(torch.tanh(self.enter(self.residual(self.tokens(tokens)))))
        there = (tokens != 0).unsqueeze(-1)
        return self.leave(self.norm((hidden * there).sum(1) / there.sum(1)))


class Towers(Backbone):
    """Reads images ``[3, SIDE, SIDE]`` and texts of up to CONTEXT tokens."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.calls = Calls()
        self.specs = {IMAGE: ModalitySpec((3, SIDE, SIDE)), TEXT: ModalitySpec((CONTEXT,), torch.int64)}
        self.preprocess_train = {IMAGE: cropped_anywhere, TEXT: tokens_of}
        self.preprocess_eval = {IMAGE: cropped_in_the_middle, TEXT: tokens_of}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Conv2d(3, 6, 4, stride=2), nn.BatchNorm2d(6), nn.GELU(), nn.Dropout(0.3)]
            self.image = nn.Sequential(*layers, Tokens(), nn.Linear(6 * 9, WIDTH))
            self.text = TextTower()
        modules = {IMAGE: self.image, TEXT: self.text}
        self.towers = {name: Tower(module, frozenset({name}), WIDTH) for name, module in modules.items()}
        self.logit_scale_log = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        value, tower = inputs[name], self.towers[name].module
        named = (*self.image.named_modules(), *self.text.named_modules())
        modes = [module.training for name, module in named if ADDONS not in name]
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        self.calls.append(Call(self.calls.phase, name, value.detach().clone(), any(modes), not all(modes), frozen))
        return Features(tower(value))

    def sites(self, tower: str) -> list[Site]:
        place, width = (self.image[4].place, 9) if tower == IMAGE else (self.text.tokens, WIDTH)
        residual = self.image[4].residual if tower == IMAGE else self.text.residual
        layers = (self.image[5],) if tower == IMAGE else (self.text.enter, self.text.leave)
        beside = residual.read, residual.beside, width
        found = [
            Site("tokens", 0, place, place, width),
            Site("attention", 0, *beside, attention=Attention(alone, of_one_head, joined)),
            Site("mlp", 0, *beside),
            *(Site("linear", 0, layer, layer, WIDTH) for layer in layers),
        ]
        outputs = self.image[4].outputs
        if tower == IMAGE:
            last = self.image[5]  # a sequence would call what is attached to it as one of its layers
            found += [Site("outputs", 0, outputs, outputs, width), Site("pooled", 0, last, last, WIDTH)]
        return found

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([tokens_of(text) for text in texts])

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(WORDS, start=1, end=2, padding=0)

    @property
    def token_embedding(self) -> nn.Module:
        return self.text.tokens

    @property
    def logit_scale(self) -> Tensor:
        return self.logit_scale_log.exp()

    def export(self, folder: Any) -> None:
        raise AssertionError("never exported")


def alone(module: nn.Module, entered: Tensor) -> Tensor:
    """Tokens as their own queries."""
    return entered.unsqueeze(1)


def of_one_head(module: nn.Module, entered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens as their own queries, keys and values."""
    return entered.unsqueeze(1), entered.unsqueeze(1), entered.unsqueeze(1)


def joined(module: nn.Module, found: Tensor) -> Tensor:
    """What the one head has found."""
    return found.squeeze(1)


def tokens_of(text: str) -> Tensor:
    """A token for each word, by its letters."""
    words = [3 + sum(map(ord, word)) % (WORDS - 3) for word in text.split()][: CONTEXT - 2]
    return torch.tensor([1, *words, 2, *[0] * (CONTEXT - 2 - len(words))])


def cropped_anywhere(image: Image.Image) -> Tensor:
    """A random crop."""
    top, left = torch.randint(RAW - SIDE + 1, (2,)).tolist()
    return _marked(_pixels(image)[:, top : top + SIDE, left : left + SIDE], AUGMENTED)


def cropped_in_the_middle(image: Image.Image) -> Tensor:
    """The centre."""
    edge = (RAW - SIDE) // 2
    return _marked(_pixels(image)[:, edge : edge + SIDE, edge : edge + SIDE], PLAIN)


def _pixels(image: Image.Image) -> Tensor:
    return pil_to_tensor(image) / 255


def _marked(pixels: Tensor, mark: float) -> Tensor:
    marked = pixels.clone()
    marked[0, 0] = mark
    return marked
