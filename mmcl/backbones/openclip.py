"""Any open_clip model as a backbone, and ``glyph-clip``, the small one that ships with MMCL.

    openclip:ViT-B-16/openai             a model and a pre-trained tag; open_clip downloads the weights once
    openclip:ViT-B-16/weights/mine.pt    a model and a checkpoint file
    openclip:local-dir/exported/run      a folder with open_clip_config.json, as ``mmcl export`` writes it

open_clip's model, preprocessing and tokeniser are used as they are.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.errors import ConfigError, nearest
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Vocabulary

GLYPH_CLIP = Path(__file__).parent / "glyph_clip"


class OpenCLIPBackbone(Backbone):
    """Image and text towers of an open_clip model.

    Args:
        clip: the model.
        config: its open_clip configuration (``model_cfg``).
        preprocess_train: image -> tensor with random resized crop, as open_clip builds it.
        preprocess_eval: image -> tensor.
        tokenizer: texts -> token ids.
    """

    def __init__(
        self, clip: nn.Module, config: dict[str, Any], preprocess_train: Any, preprocess_eval: Any, tokenizer: Any
    ) -> None:
        super().__init__()
        self.clip = clip
        self.config = config
        self.tokenizer = tokenizer
        tokens = _TokensOfOne(tokenizer)
        self.preprocess_train = {IMAGE: preprocess_train, TEXT: tokens}
        self.preprocess_eval = {IMAGE: preprocess_eval, TEXT: tokens}
        size = clip.visual.image_size  # type: ignore[union-attr]
        height, width = size if isinstance(size, tuple) else (size, size)
        self.specs = {
            IMAGE: ModalitySpec((3, int(height), int(width))),
            TEXT: ModalitySpec(tuple(tokens("").shape), torch.int64),
        }
        self.embed_dim = int(config["embed_dim"])

    def encode(self, modality: str, value: Tensor) -> Features:
        """``image``: ``float[B, 3, H, W]``; ``text``: ``int64[B, L]``; both -> ``[B, D]``, not normalised."""
        if modality == IMAGE:
            return Features(self.clip.encode_image(value))  # type: ignore[operator]
        return Features(self.clip.encode_text(value))  # type: ignore[operator]

    def tower(self, modality: str) -> nn.Module:
        """The image tower; open_clip spreads the text tower over the model, unless it is a module of its own."""
        if modality == IMAGE:
            return self.clip.visual  # type: ignore[return-value]
        text: nn.Module = self.clip.text if hasattr(self.clip, "text") else self.clip.transformer  # type: ignore[assignment]
        return text

    def blocks(self, modality: str) -> Sequence[nn.Module]:
        """The residual attention blocks of a tower, or none where open_clip's tower has no such blocks."""
        owner = self.tower(modality)
        transformer = getattr(owner, "transformer", owner)
        return list(getattr(transformer, "resblocks", ()))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """open_clip's tokeniser of this model."""
        tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids of CLIP's own tokeniser, or of a Hugging Face one that has a start and an end.

        Raises:
            PluginError: if the tokeniser lacks one of them.
        """
        size = int(self.token_embedding.num_embeddings)  # type: ignore[arg-type]
        if isinstance(self.tokenizer, SimpleTokenizer):
            return Vocabulary(size, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id, padding=0)
        inner = getattr(self.tokenizer, "tokenizer", None)
        start, end, padding = (getattr(inner, f"{name}_token_id", None) for name in ("bos", "eos", "pad"))
        if start is None or end is None or padding is None:
            raise self._lacking("'vocabulary' with start, end and padding", "token ids")
        return Vocabulary(size, start, end, padding)

    @property
    def token_embedding(self) -> nn.Module:
        """open_clip's embedding table.

        Raises:
            PluginError: if the text tower is not open_clip's own.
        """
        owner = getattr(self.clip, "text", self.clip)
        if not hasattr(owner, "token_embedding"):
            raise self._lacking("'token_embedding'", "embeddings of tokens")
        return owner.token_embedding  # type: ignore[return-value]

    @property
    def logit_scale(self) -> Tensor:
        """``exp`` of CLIP's stored parameter."""
        return self.clip.logit_scale.exp()  # type: ignore[operator]

    def export(self, folder: Path) -> None:
        """Write ``open_clip_config.json``, ``open_clip_model.safetensors`` and, if it has one, the tokeniser.

        ``open_clip.create_model_and_transforms("local-dir:FOLDER")`` gives the same model in plain open_clip.
        """
        folder.mkdir(parents=True, exist_ok=True)
        preprocess = self.clip.visual.preprocess_cfg  # type: ignore[union-attr]
        described = asdict(preprocess) if is_dataclass(preprocess) else dict(preprocess)  # type: ignore[arg-type]
        description = {"model_cfg": self.config, "preprocess_cfg": described}
        (folder / "open_clip_config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.clip.state_dict().items()}
        save_file(weights, folder / "open_clip_model.safetensors")
        if isinstance(self.tokenizer, HFTokenizer):
            self.tokenizer.save_pretrained(str(folder))

    def __deepcopy__(self, memo: dict[int, Any]) -> "OpenCLIPBackbone":
        """A copy with its own weights; preprocessing and tokeniser, which hold no weights, are shared."""
        from copy import deepcopy

        copy = OpenCLIPBackbone(
            deepcopy(self.clip, memo),
            self.config,
            self.preprocess_train[IMAGE],
            self.preprocess_eval[IMAGE],
            self.tokenizer,
        )
        memo[id(self)] = copy
        return copy.train(self.training)


@dataclass(frozen=True)
class _TokensOfOne:
    """Preprocessing of a text; an object of its own, so that worker processes do not receive the model."""

    tokenizer: Any

    def __call__(self, text: str) -> Tensor:
        tokens: Tensor = self.tokenizer([text])[0]
        return tokens


@dataclass(kw_only=True)
class OpenCLIP(BackbonePlugin):
    """Any of open_clip's architectures with any of its pre-trained weights or a checkpoint of your own."""

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    weights: str = "ViT-B-16/openai"  # ARCHITECTURE/TAG, ARCHITECTURE/FILE or local-dir/FOLDER

    def build(self) -> OpenCLIPBackbone:
        """Load the model in float32.

        Raises:
            ConfigError: if open_clip knows neither the architecture nor the weights.
        """
        architecture, _, source = self.weights.partition("/")
        if architecture == "local-dir":
            return _load(f"local-dir:{_existing_folder(source)}", None)
        if architecture not in open_clip.list_models():
            raise ConfigError(
                f"backbone 'openclip:{self.weights}'",
                found=f"open_clip has no architecture {architecture!r}",
                allowed="ARCHITECTURE/TAG, ARCHITECTURE/FILE or local-dir/FOLDER",
                remedy=nearest(architecture, open_clip.list_models()),
            )
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        if source not in tags and not Path(source).is_file():
            raise ConfigError(
                f"backbone 'openclip:{self.weights}'",
                found=f"{source!r} is neither a checkpoint file nor a pre-trained tag of {architecture}",
                allowed=f"a file, or one of {', '.join(tags)}",
                remedy=nearest(source, tags),
            )
        return _load(architecture, source)

    def of_export(self, folder: Path) -> "OpenCLIP":
        """Exports are folders in open_clip's own format."""
        return OpenCLIP(weights=f"local-dir/{folder}")

    def miniature(self) -> OpenCLIPBackbone:
        """A random CLIP of open_clip's classes."""
        return tiny_clip()


@dataclass(kw_only=True)
class GlyphCLIP(BackbonePlugin):
    """A CLIP of 1.5 M parameters, pre-trained on drawings of Unicode symbols; it ships with MMCL and needs no network.

    Its model card, with what it has never seen, lies beside the weights in ``mmcl/backbones/glyph_clip``.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    def build(self) -> OpenCLIPBackbone:
        """Load the shipped half-precision weights into a float32 model."""
        return _load(f"local-dir:{GLYPH_CLIP}", None)

    def of_export(self, folder: Path) -> "OpenCLIP":
        """Exports are folders in open_clip's own format."""
        return OpenCLIP(weights=f"local-dir/{folder}")

    def miniature(self) -> OpenCLIPBackbone:
        """A random CLIP of open_clip's classes."""
        return tiny_clip()


def _load(name: str, pretrained: str | None) -> OpenCLIPBackbone:
    clip, preprocess_train, preprocess_eval = open_clip.create_model_and_transforms(name, pretrained=pretrained)
    config = open_clip.get_model_config(name)
    assert config is not None
    clip.eval().requires_grad_(True)
    return OpenCLIPBackbone(clip, config, preprocess_train, preprocess_eval, open_clip.get_tokenizer(name))


def _existing_folder(path: str) -> Path:
    folder = Path(path)
    if not (folder / "open_clip_config.json").is_file():
        raise ConfigError(
            f"backbone 'openclip:local-dir/{path}'",
            found=f"no open_clip_config.json in {folder}",
            allowed="a folder in open_clip's own format",
            remedy="Give the folder that 'mmcl export' or open_clip wrote.",
        )
    return folder


def tiny_clip(seed: int = 0) -> OpenCLIPBackbone:
    """A random CLIP of about 60 k parameters with the real classes and glyph-clip's tokeniser, for tests."""
    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 2000,
            "hf_tokenizer_name": "glyph-clip",
            "width": 16,
            "heads": 2,
            "layers": 1,
            "pool_type": "eos",
            "eos_id": 2,
            "pad_id": 0,
        },
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = open_clip.model.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    size = config["vision_cfg"]["image_size"]
    train, evaluate = (open_clip.transform.image_transform(size, is_train=flag) for flag in (True, False))
    clip.visual.preprocess_cfg = {"size": size}
    return OpenCLIPBackbone(clip, config, train, evaluate, open_clip.get_tokenizer(f"local-dir:{GLYPH_CLIP}"))
