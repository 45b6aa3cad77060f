"""Backbone: pre-trained towers behind one interface, and BackbonePlugin, what an entry point provides."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from mmcl.data.modality import TEXT, ModalitySpec
from mmcl.errors import PluginError
from mmcl.options import check_options
from mmcl.registry import BACKBONES, name_of


class Features(NamedTuple):
    """Pooled features ``[B, D]`` and, where the tower gives them, token features ``[B, L, W]``."""

    pooled: Tensor
    tokens: Tensor | None = None


class Vocabulary(NamedTuple):
    """Token ids of a text tower: a text is the start, its tokens, the end, and padding up to the length of a row.

    Attributes:
        size: ids are below it; the special ones are among them.
        start: begins every text.
        end: ends it; the text tower pools at the first one of a row.
        padding: fills the rest of the row.
    """

    size: int
    start: int
    end: int
    padding: int


class Backbone(nn.Module, ABC):
    """Weights, preprocessing and tokeniser that belong together.

    Attributes:
        specs: modality -> shape of one preprocessed value.
        preprocess_train: modality -> raw value to tensor, with augmentation.
        preprocess_eval: modality -> raw value to tensor, deterministic.
        embed_dim: D, width of pooled features.
        remarks: what is not sure about it; a run says it and keeps it.
    """

    specs: Mapping[str, ModalitySpec]
    preprocess_train: Mapping[str, Callable[[Any], Tensor]]
    preprocess_eval: Mapping[str, Callable[[Any], Tensor]]
    embed_dim: int
    remarks: Sequence[str] = ()

    @property
    def description(self) -> Mapping[str, str]:
        """What a report says of the model: its name, where its weights come from, what else makes it this function."""
        return {"model": type(self).__name__}

    @abstractmethod
    def encode(self, modality: str, value: Tensor) -> Features:
        """Features of a batch of preprocessed values of one modality."""

    @abstractmethod
    def tower(self, modality: str) -> nn.Module:
        """The module that encodes a modality, each sample in rows of its own."""

    def blocks(self, modality: str) -> Sequence[nn.Module]:
        """The blocks of a tower in order, where add-ons can be attached; each maps ``[B, L, W]`` to the same shape.

        A backbone that has none cannot be adapted, only trained.
        """
        return ()

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids ``int64[N, L]``, ready for ``encode("text", ...)``."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What token ids mean, for strategies that make up texts.

        Raises:
            PluginError: if the backbone does not say so.
        """
        raise self._lacking("'vocabulary'", "token ids")

    @property
    def token_embedding(self) -> nn.Module:
        """The module of the text tower that turns ids ``int64[B, L]`` into the vectors ``[B, L, W]`` it starts from.

        Raises:
            PluginError: if the backbone does not show it.
        """
        raise self._lacking("'token_embedding'", "embeddings of tokens")

    def encode_embedded(self, tokens: Tensor, embedded: Tensor) -> Features:
        """Features of texts whose tokens have these embeddings instead of their own.

        Args:
            tokens: ``int64[B, L]``; they still say where a text ends.
            embedded: ``[B, L, W]``, what ``token_embedding`` is to have returned; it may need a gradient.

        Raises:
            PluginError: if the backbone shows no ``token_embedding``.
        """
        hook = self.token_embedding.register_forward_hook(lambda *_: embedded)
        try:
            return self.encode(TEXT, tokens)
        finally:
            hook.remove()

    def _lacking(self, member: str, what: str) -> PluginError:
        return PluginError(
            f"backbone {type(self).__name__}",
            found=f"it has no {member}",
            allowed=f"backbones that say what their {what} are",
            remedy="Choose a CLIP-like backbone, such as glyph-clip, or a strategy that makes up no texts.",
        )

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """The multiplicative scale of cosine similarities (already exponentiated)."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write weights, configuration and tokeniser in the format of the library the backbone comes from."""


class BackbonePlugin(ABC):
    """What an entry point of group ``mmcl.backbones`` names: a keyword-only dataclass whose fields are the options.

    Compositions are checked against what it declares before anything is loaded.

    Attributes:
        writes: whether it writes text, as scenarios with open answers ask for.
    """

    writes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the numbers among the options; a backbone with checks of its own calls ``check_options`` in them."""
        check_options(self, name_of(BACKBONES, type(self)))

    @property
    @abstractmethod
    def modalities(self) -> frozenset[str]:
        """What the towers encode: a class variable, or a property if options decide."""

    @property
    def reads(self) -> frozenset[frozenset[str]]:
        """Which modalities each tower reads: one each, unless a backbone encodes several together."""
        return frozenset(frozenset({name}) for name in self.modalities)

    @abstractmethod
    def build(self) -> Backbone:
        """Load weights and preprocessing."""

    def of_export(self, folder: Path) -> "BackbonePlugin | None":
        """The plugin that loads what ``export`` of its backbone wrote into ``folder``; ``None`` if there is none."""
        return None

    def miniature(self) -> Backbone:
        """A random backbone of the same class that needs no weights and trains in a fraction of a second, for tests."""
        raise NotImplementedError(f"{type(self).__name__} has no miniature")
