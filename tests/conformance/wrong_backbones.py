"""Backbones that break one promise each."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Features
from mmcl.models.sites import Site

from .good_backbone import Together, Towers, letters, pixels, plugin, seeded
from .sabotage import Sabotage


def built(change: Callable[[Towers], None]) -> Callable[[], Towers]:
    """The good miniature after a change."""

    def miniature() -> Towers:
        towers = seeded(Towers)
        change(towers)
        return towers

    miniature.__name__ = change.__name__
    return miniature


def of(kind: type[Towers]) -> Callable[[], Towers]:
    """The miniature of another class."""

    def miniature() -> Towers:
        return seeded(kind)

    miniature.__name__ = kind.__name__
    return miniature


def no_miniature() -> Towers:
    raise NotImplementedError("too large for that")


def unseeded() -> Towers:
    with torch.random.fork_rng(devices=[]):
        return Towers()


def huge() -> Towers:
    return seeded(lambda: Towers(1_500))


def prepares_by_lambda(towers: Towers) -> None:
    towers.preprocess_train = {IMAGE: lambda image: pixels(image), TEXT: letters}


def prepares_other_shapes(towers: Towers) -> None:
    towers.preprocess_eval = {IMAGE: _transposed, TEXT: letters}


def augments_always(towers: Towers) -> None:
    towers.preprocess_eval = {IMAGE: _noisy, TEXT: letters}


def has_a_wrong_width(towers: Towers) -> None:
    towers.towers = {name: tower._replace(width=9) for name, tower in towers.towers.items()}


def has_a_hidden_tensor(towers: Towers) -> None:
    towers.offset = torch.ones(8)  # type: ignore[assignment]


def _transposed(image: Any) -> Tensor:
    return pixels(image).permute(1, 2, 0)


def _noisy(image: Any) -> Tensor:
    return pixels(image) + torch.rand(3, 8, 8, generator=_NOISE)


_NOISE = torch.Generator().manual_seed(0)


class PadsSomeOnly(Towers):
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        tokens = super().tokenize(texts)
        return tokens[:, : max(1, len(texts[0]))] if len(texts) == 1 else tokens


class KnowsNoAnimals(Towers):
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return super().tokenize(["" if "dog" in text or "cat" in text else text for text in texts])


class HasNoTower(Towers):
    def __init__(self) -> None:
        super().__init__()
        self.towers = {**self.towers, IMAGE: self.towers[IMAGE]._replace(module=deepcopy(self.image))}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        self.towers = {**self.towers, IMAGE: self.towers[IMAGE]._replace(module=self.image)}
        try:
            return super().encode_tower(name, inputs)
        finally:
            self.towers = {**self.towers, IMAGE: self.towers[IMAGE]._replace(module=deepcopy(self.image))}

    def sites(self, tower: str) -> Sequence[Site]:
        return ()


class Detaches(Towers):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        pooled = super().encode_tower(name, inputs).pooled
        return Features(pooled if name == TEXT else pooled.detach() + 0 * self.embedding.weight.sum())


class ShowsAWrongWidth(Towers):
    def sites(self, tower: str) -> Sequence[Site]:
        return [site._replace(width=48) for site in super().sites(tower)]


class HasAnotherTable(Towers):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Embedding(51, 8)

    @property
    def token_embedding(self) -> nn.Module:
        return self.other


class DrawsForNothing(Towers):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        torch.rand(1)
        return super().encode_tower(name, inputs)


class HasANegativeScale(Towers):
    @property
    def logit_scale(self) -> Tensor:
        return torch.full((), -10.0)


class Remembers(Towers):
    """Sees the same image otherwise the second time."""

    last = b""
    times = 0

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        pooled = super().encode_tower(name, inputs).pooled
        if not self.training:
            seen, self.last = self.last, inputs[name].numpy().tobytes()
            self.times = self.times + 1 if seen == self.last else 1
            pooled = pooled + 0.1 * (name == IMAGE and self.times == 2)
        return Features(pooled)


class CountsRows(Towers):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(super().encode_tower(name, inputs).pooled * (1 + 0.1 * len(inputs[name])))


class SeesNothing(Towers):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        blind = {other: value * 0 if other == IMAGE else value for other, value in inputs.items()}
        return super().encode_tower(name, inputs.replace(values=blind))


class MixesModalities(Towers):
    """What a text means depends on the image beside it, also where there is none."""

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        pooled = super().encode_tower(name, inputs).pooled
        beside = inputs[IMAGE].flatten(1).mean(1, keepdim=True) if name == TEXT and IMAGE in inputs else 0.0
        return Features(pooled + beside)


class IsIndifferent(Towers):
    @property
    def logit_scale(self) -> Tensor:
        return torch.full((), 1e-12)


class SharesItsTower(Towers):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Towers":
        copy = type(self)()
        copy.load_state_dict(self.state_dict())
        copy.image = self.image
        copy.towers = {**copy.towers, IMAGE: copy.towers[IMAGE]._replace(module=self.image)}
        return copy.train(self.training)


class SavesHalf(Towers):
    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        return {name: value for name, value in super().state_dict().items() if name != "image.0.bias"}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False)


class ExportsTheStart(Towers):
    def export(self, folder: Path) -> None:
        seeded(Towers).export(folder)


class ExportsNothing(Towers):
    def export(self, folder: Path) -> None:
        """Nothing."""


class ReadsNoText(Towers):
    def __init__(self) -> None:
        super().__init__()
        self.towers = {IMAGE: self.towers[IMAGE]}


class OverlooksTheText(Together):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.seen(IMAGE, inputs) + 0 * self.seen(TEXT, inputs))


class LooksAtStandIns(Together):
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        whole = dict.fromkeys(inputs.present, torch.ones(inputs.batch_size, dtype=torch.bool))
        return super().encode_tower(name, inputs.replace(present=whole))


READS_BOTH = property(lambda self: frozenset({frozenset({IMAGE, TEXT})}))
READS_IMAGES = property(lambda self: frozenset({frozenset({IMAGE})}))

WRONG_BACKBONES = (
    Sabotage(plugin(of(Towers), name="Unsaid", __doc__=None), "card", "its class has no docstring"),
    Sabotage(plugin(no_miniature), "small miniature", r"miniature\(\) raises NotImplementedError: too large"),
    Sabotage(plugin(unseeded), "small miniature", "built twice, .* differ .* Seed the weights"),
    Sabotage(plugin(huge), "small miniature", "the miniature has .* parameters.* Stay below 2,000,000"),
    Sabotage(
        plugin(of(Towers), name="HalfDeclared", modalities=frozenset({IMAGE})),
        "modalities",
        r"declares \['image'\], and specs has \['image', 'text'\]",
    ),
    Sabotage(
        plugin(of(Together)),
        "modalities",
        "'reads' declares towers of image, text, and its towers read image with text",
    ),
    Sabotage(plugin(built(prepares_by_lambda)), "preparation", r"preprocess_train\['image'\] cannot be sent"),
    Sabotage(plugin(built(prepares_other_shapes)), "preparation", r"gives torch.float32 of shape \[8, 8, 3\]"),
    Sabotage(plugin(built(augments_always)), "preparation", r"preprocess_eval\['image'\] of the same value twice"),
    Sabotage(plugin(of(PadsSomeOnly)), "tokens", r"'a dog' alone becomes .* of shape \[1, 5\]"),
    Sabotage(plugin(of(KnowsNoAnimals)), "tokens", "different texts have the same tokens"),
    Sabotage(plugin(of(HasNoTower)), "towers", "the tower 'image' is no part of the backbone"),
    Sabotage(plugin(of(Detaches)), "towers", r"no gradient of the features of 'image' arrives in the tower 'image'"),
    Sabotage(plugin(of(ReadsNoText), reads=READS_IMAGES), "towers", r"no tower reads \['text'\]"),
    Sabotage(plugin(of(ShowsAWrongWidth)), "sites", r"site 'block' of layer 0 .* leaves it has the shapes .* 8\)"),
    Sabotage(plugin(of(HasAnotherTable)), "embeddings", "other embeddings do not change the features"),
    Sabotage(plugin(of(DrawsForNothing)), "random state", "uses the global generator of torch"),
    Sabotage(plugin(built(has_a_wrong_width)), "features", r"3 values of 'image' give torch.float32 of shape \[3, 8\]"),
    Sabotage(plugin(of(HasANegativeScale)), "logit scale", r"logit_scale is tensor\(-10"),
    Sabotage(plugin(of(Remembers)), "determinism", "features of 'image', encoded twice, differ by up to 0.1"),
    Sabotage(plugin(of(CountsRows)), "independence", "features of 'image', alone and in a batch, differ"),
    Sabotage(plugin(of(SeesNothing)), "distinction", "two different values of 'image' have the same features"),
    Sabotage(
        plugin(of(OverlooksTheText), reads=READS_BOTH),
        "distinction",
        "two different values of 'text' have the same features in the tower 'joint'",
    ),
    Sabotage(plugin(of(LooksAtStandIns), reads=READS_BOTH), "missing values", "look at inputs.present"),
    Sabotage(plugin(of(MixesModalities)), "missing values", "with other stand-ins for missing values, differ"),
    Sabotage(plugin(of(IsIndifferent)), "learns", "the loss of the first experience is 0.69.* before and 0.69"),
    Sabotage(plugin(of(SharesItsTower)), "copies", "'image.0.weight' of a deep copy is that of the original"),
    Sabotage(
        plugin(of(SavesHalf), of_export=lambda self, folder: None), "saved weights", "loaded from a state dictionary"
    ),
    Sabotage(plugin(built(has_a_hidden_tensor)), "registered tensors", "'offset' is a tensor that nobody moves"),
    Sabotage(plugin(of(ExportsTheStart)), "exported weights", "exported and loaded: .* differ by up to"),
    Sabotage(plugin(of(ExportsNothing)), "exported weights", "export writes nothing into the folder"),
)
