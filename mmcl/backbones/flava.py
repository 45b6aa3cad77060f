"""FLAVA of transformers, from a folder: encoders of image and text, and one that reads both on top of them.

    flava:weights/flava-full     a folder as transformers' save_pretrained writes it, or the hub's copy of it

transformers' model, image processor and tokeniser are used as they are. They are imported when a model is built: what
the plugin declares costs nothing.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import Width

if TYPE_CHECKING:
    from mmcl.backbones.flava_backbone import FlavaBackbone

_USUAL_LENGTH = 77
_TOKENIZER = Path(__file__).parent / "glyph_clip"  # that of the miniature


@dataclass(kw_only=True)
class Flava(BackbonePlugin):
    """FLAVA (Singh et al., CVPR 2022): image and text encoders, and one that fuses them, for images with texts.

    Weights: a folder with transformers' files. Those of its authors, trained on 70 million public pairs, are
    ``facebook/flava-full`` on the Hugging Face hub, under the BSD 3-clause licence. MMCL downloads nothing.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})

    weights: str = "flava-full"  # a folder: config.json, weights, preprocessor_config.json and the tokeniser's files
    text_length: Width | None = None  # tokens of a text with padding; None: 77, as in its pre-training

    @property
    def reads(self) -> frozenset[frozenset[str]]:
        """Image, text, and both."""
        return frozenset({frozenset({IMAGE}), frozenset({TEXT}), frozenset({IMAGE, TEXT})})

    def build(self) -> "FlavaBackbone":
        """Load the model in float32, with the image processor and the tokeniser of its folder.

        Raises:
            ConfigError: if there is no such folder, or transformers cannot load all of it.
        """
        folder = Path(self.weights)
        if not (folder / "config.json").is_file():
            raise ConfigError(
                "backbone 'flava'",
                found=f"no config.json in {folder}" if folder.is_dir() else f"no folder {folder}",
                allowed="a folder with transformers' files of a FLAVA",
                remedy="Download one where there is a network, as with 'hf download facebook/flava-full --local-dir "
                "flava-full', and name it: --backbone flava:flava-full.",
            )
        return _loaded(folder, self.text_length)

    def of_export(self, folder: Path) -> "Flava":
        """Exports are folders as transformers writes them."""
        return Flava(weights=str(folder), text_length=self.text_length)

    def miniature(self) -> "FlavaBackbone":
        """A random FLAVA of transformers' classes."""
        return tiny_flava()


def tiny_flava(seed: int = 0) -> "FlavaBackbone":
    """A random FLAVA of about 60 k parameters with the real classes, for the images and tokens of ``tiny_clip``."""
    return deepcopy(_first_tiny_flava(seed))


@cache
def _first_tiny_flava(seed: int) -> "FlavaBackbone":
    from transformers import AutoTokenizer, FlavaConfig, FlavaImageProcessor, FlavaModel

    from mmcl.backbones.flava_backbone import FlavaBackbone

    encoder: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 0.3,
    }
    config = FlavaConfig(
        image_config={**encoder, "image_size": 32, "patch_size": 16},
        text_config={**encoder, "vocab_size": 2000, "max_position_embeddings": 20},
        multimodal_config=encoder,
        projection_dim=16,
        hidden_size=16,
        init_codebook=False,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        flava = FlavaModel(config)
        for parameter in flava.parameters():
            if not parameter.any():  # positions, biases and first tokens, which are trained elsewhere
                parameter.normal_(std=0.1)
    square = {"height": 32, "width": 32}
    processor = FlavaImageProcessor(size=square, crop_size=square)
    return FlavaBackbone(flava.train(False), processor, AutoTokenizer.from_pretrained(_TOKENIZER), 20)


def _loaded(folder: Path, length: int | None) -> "FlavaBackbone":
    from transformers import AutoTokenizer, FlavaImageProcessor, FlavaModel

    from mmcl.backbones.flava_backbone import FlavaBackbone, without_bars

    try:
        with without_bars():
            loaded: Any = FlavaModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            processor = FlavaImageProcessor.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise _doubtful(
            folder, f"transformers cannot load it ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
        ) from error
    flava, found = loaded
    # what pools for heads that are not used here may be missing
    missing = sorted(name for name in found["missing_keys"] if ".pooler." not in name)
    if missing:
        raise _doubtful(folder, f"weights without {missing[0]} and {len(missing) - 1} others, which would be random")
    size = int(flava.config.text_config.max_position_embeddings)
    length = min(_USUAL_LENGTH, size) if length is None else length
    if length > size:
        raise ConfigError(
            "flava.text_length",
            found=f"{length}, and the model has positions for {size} tokens",
            allowed=f"1 to {size}",
            remedy=f"--set backbone.text_length={size}",
        )
    backbone = FlavaBackbone(
        flava.float().requires_grad_(True),
        processor,
        tokenizer,
        length,
        origin={"model": "FLAVA", "weights": folder.name},
    )
    side = flava.config.image_config.image_size
    wanted = (side, side) if isinstance(side, int) else tuple(side)
    if backbone.specs[IMAGE].shape[1:] != wanted:
        raise _doubtful(
            folder, f"a model for images of {wanted} and a processor that gives {backbone.specs[IMAGE].shape}"
        )
    return backbone


def _doubtful(folder: Path, found: str) -> ConfigError:
    return ConfigError(
        f"backbone 'flava:{folder}'",
        found=found,
        allowed="model, image processor and tokeniser that belong together",
        remedy="Give a folder that transformers' save_pretrained, the hub or 'mmcl export' wrote.",
    )
