"""Any open_clip model as a backbone, and ``glyph-clip``, the small one that ships with MMCL.

    openclip:ViT-B-16/openai             a model and a pre-trained tag; open_clip downloads the weights once
    openclip:ViT-B-16/weights/mine.pt    a model and a checkpoint file
    openclip:ViT-B-16/random             a model without weights
    openclip:local-dir/exported/run      a folder with open_clip_config.json, as ``mmcl export`` writes it

open_clip's model, preprocessing and tokeniser are used, with the settings that belong to the weights. It is imported
when weights are named or a model is built: what the plugins declare costs nothing.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from mmcl.backbones.open_clip_backbone import OpenCLIPBackbone
from mmcl.data.modality import IMAGE, TEXT
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import Natural, Positive, Real, check_options

if TYPE_CHECKING:
    from mmcl.backbones.open_clip_plan import Plan

__all__ = ["GLYPH_CLIP", "GlyphCLIP", "OpenCLIP", "OpenCLIPBackbone", "tiny_clip"]

GLYPH_CLIP = Path(__file__).parent / "glyph_clip"


@dataclass(kw_only=True)
class OpenCLIP(BackbonePlugin):
    """Any of open_clip's architectures with any of its pre-trained weights, with a checkpoint of your own, or random.

    The options but ``weights`` say what a checkpoint file cannot say, or of what kind a random model is.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    weights: str = "ViT-B-16/openai"  # ARCHITECTURE/TAG, ARCHITECTURE/FILE, ARCHITECTURE/random or local-dir/FOLDER
    quick_gelu: bool | None = None  # whether the weights were trained with OpenAI's QuickGELU; for a file or random
    mean: tuple[Real, Real, Real] | None = None  # of the colours; for a file that was trained with others
    std: tuple[Positive, Positive, Positive] | None = None  # likewise
    interpolation: Literal["bicubic", "bilinear"] | None = None  # likewise, at evaluation
    resize_mode: Literal["shortest", "longest", "squash"] | None = None  # likewise, at evaluation
    seed: Natural | None = None  # of ARCHITECTURE/random, where none means 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built before anything is loaded.

        Raises:
            ConfigError: if open_clip knows neither the architecture nor the weights, if an option contradicts them, or
                if a file may have been trained with either activation.
        """
        check_options(self, "openclip")
        self._plan()

    def build(self) -> OpenCLIPBackbone:
        """Load the model in float32, with the activation and the preprocessing of its weights.

        Raises:
            ConfigError: if open_clip cannot load it, or not without a doubt.
        """
        from mmcl.backbones.open_clip_model import load

        return load(self._plan())

    def _plan(self) -> "Plan":
        from mmcl.backbones.open_clip_plan import planned

        return planned(self.weights, self._asked, self.seed)

    @property
    def _asked(self) -> dict[str, Any]:
        options = {
            "quick_gelu": self.quick_gelu,
            "mean": self.mean,
            "std": self.std,
            "interpolation": self.interpolation,
            "resize_mode": self.resize_mode,
        }
        return {name: value for name, value in options.items() if value is not None}

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
        from mmcl.backbones.open_clip_model import load
        from mmcl.backbones.open_clip_plan import of_shipped

        return load(of_shipped("glyph-clip", GLYPH_CLIP))

    def of_export(self, folder: Path) -> "OpenCLIP":
        """Exports are folders in open_clip's own format."""
        return OpenCLIP(weights=f"local-dir/{folder}")

    def miniature(self) -> OpenCLIPBackbone:
        """A random CLIP of open_clip's classes."""
        return tiny_clip()


def tiny_clip(seed: int = 0) -> OpenCLIPBackbone:
    """A random CLIP of about 60 k parameters with the real classes and glyph-clip's tokeniser, for tests."""
    return deepcopy(_first_tiny_clip(seed))


@cache
def _first_tiny_clip(seed: int) -> OpenCLIPBackbone:
    """What all are copies of: copying takes a third of the time that drawing weights and reading the tokeniser do."""
    import open_clip

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
