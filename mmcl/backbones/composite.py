"""Composite: several backbones side by side, each for the modalities it encodes.

    mmcl.backbone("composite", towers=["openclip:ViT-B-16/openai", "my_package.sensors:Windows"])

A CLIP model beside towers for sensors is one backbone for a stream of pictures, texts and windows. Every part keeps its
weights, preprocessing and tokeniser; the widths of their features have to be equal, since they meet in one space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmcl.arguments import parse_tower
from mmcl.data.modality import TEXT
from mmcl.data.names import some
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Vocabulary
from mmcl.models.sites import Site
from mmcl.options import BackboneName, instantiate
from mmcl.registry import BACKBONES, load


class CompositeBackbone(Backbone):
    """Backbones side by side. What texts are, the part that reads them says; without one, the first part.

    Args:
        parts: what encodes what; no modality twice.

    Raises:
        ConfigError: if their features have different widths.
    """

    export_format = "parts"

    def __init__(self, parts: Sequence[Backbone]) -> None:
        super().__init__()
        widths = {tower.width: name for part in parts for name, tower in part.towers.items()}
        if len(widths) > 1:
            raise ConfigError(
                "backbone 'composite'",
                found="features of the widths " + ", ".join(f"{width} ({name})" for width, name in widths.items()),
                allowed="one width for all towers",
                remedy="Give the tower an option for its width, or a last layer that maps to the width of the others.",
            )
        self.parts = nn.ModuleList(parts)
        self.specs = _joined([part.specs for part in parts])
        self.preprocess_train = _joined([part.preprocess_train for part in parts])
        self.preprocess_eval = _joined([part.preprocess_eval for part in parts])
        self.remarks = tuple(remark for part in parts for remark in part.remarks)
        self.towers = _joined([part.towers for part in parts])
        self._part_of = {name: number for number, part in enumerate(parts) for name in {*part.specs, *part.towers}}

    @property
    def description(self) -> Mapping[str, str]:
        """What each part says, in their order."""
        said = [part.description for part in self._backbones]
        topics = dict.fromkeys(topic for of_part in said for topic in of_part)
        return {topic: " + ".join(of_part[topic] for of_part in said if topic in of_part) for topic in topics}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """The features of the part whose tower it is."""
        return self._of(name).encode_tower(name, inputs)

    def let_go(self) -> None:
        """What the parts have kept of the batch."""
        for part in self._backbones:
            part.let_go()

    def sites(self, tower: str) -> Sequence[Site]:
        """The sites of the part whose tower it is."""
        return self._of(tower).sites(tower)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids of the part that reads texts."""
        return self._reader.tokenize(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        """That of the part that reads texts."""
        return self._reader.vocabulary

    @property
    def token_embedding(self) -> nn.Module:
        """That of the part that reads texts."""
        return self._reader.token_embedding

    @property
    def logit_scale(self) -> Tensor:
        """That of the part that reads texts."""
        return self._reader.logit_scale

    def export(self, folder: Path) -> None:
        """Every part in its own format, in a sub-folder that is named by its modalities."""
        for part in self._backbones:
            part.export(folder / "+".join(sorted(part.specs)))

    def _of(self, modality: str) -> Backbone:
        return self._backbones[self._part_of[modality]]

    @property
    def _reader(self) -> Backbone:
        return self._backbones[self._part_of.get(TEXT, 0)]

    @property
    def _backbones(self) -> list[Backbone]:
        return [part for part in self.parts if isinstance(part, Backbone)]


@dataclass(kw_only=True)
class Composite(BackbonePlugin):
    """Several backbones side by side, such as a CLIP model beside sensor towers; weights and licences are theirs."""

    towers: tuple[BackboneName, ...] = (
        "glyph-clip",
    )  # as on the command line: openclip:ViT-B-16/openai, package.module:Class

    def __post_init__(self) -> None:
        """Refuse towers that are none, or that encode the same."""
        if not self.towers:
            raise ConfigError(
                "composite.towers", found="no tower", allowed="names of backbones", remedy="Name at least one."
            )
        encoders: dict[str, str] = {}
        for name, plugin in zip(self.towers, self._plugins, strict=True):
            if twice := sorted(encoders.keys() & plugin.modalities):
                raise ConfigError(
                    "composite.towers",
                    found=f"{some([encoders[twice[0]], name])} both encode {twice[0]}",
                    allowed="one tower for every modality",
                    remedy="Leave one of them out.",
                )
            encoders |= dict.fromkeys(plugin.modalities, name)

    @property
    def modalities(self) -> frozenset[str]:
        """Those of all towers."""
        return frozenset().union(*(plugin.modalities for plugin in self._plugins))

    @property
    def reads(self) -> frozenset[frozenset[str]]:
        """What the towers of all parts read."""
        return frozenset().union(*(plugin.reads for plugin in self._plugins))

    def build(self) -> CompositeBackbone:
        """Build all towers.

        Raises:
            ConfigError: if their features have different widths.
        """
        return CompositeBackbone([plugin.build() for plugin in self._plugins])

    def miniature(self) -> CompositeBackbone:
        """The miniatures of all towers."""
        return CompositeBackbone([plugin.miniature() for plugin in self._plugins])

    @cached_property
    def _plugins(self) -> list[BackbonePlugin]:
        return [_plugin(text) for text in self.towers]


def _plugin(text: str) -> BackbonePlugin:
    config = parse_tower(text)
    plugin: BackbonePlugin = instantiate(load(BACKBONES, config.name), config.options, config.name)
    return plugin


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}
