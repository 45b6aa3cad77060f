"""open_clip's CLIP with all of its weights as a case stores them, frozen: what parameter-efficient methods add to."""

import open_clip
from torch import Tensor

from mmcl.backbones.openclip import OpenCLIPBackbone
from mmcl.models.multimodal import MultimodalModel

from .case import Case
from .small_clip import RecordedTokenizer

PREFIX = "in_base/"


def base_weights(case: Case) -> dict[str, Tensor]:
    """open_clip's name -> weight, of everything below ``in_base``."""
    return {name.removeprefix(PREFIX): case.tensor(name) for name in case.names(PREFIX)}


def base_clip(case: Case, tokenizer: RecordedTokenizer) -> MultimodalModel:
    """The model whose sizes follow from the shapes of ``in_base``."""
    weights = base_weights(case)
    context, text_width = weights["positional_embedding"].shape
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("transformer.resblocks."))
    config = {
        "embed_dim": weights["text_projection"].shape[1],
        "vision_cfg": {
            "image_size": 8,
            "patch_size": 4,
            "width": len(weights["visual.conv1.weight"]),
            "layers": layers,
            "head_width": case.integer("hp_head_width"),
        },
        "text_cfg": {
            "context_length": context,
            "vocab_size": 24,
            "width": text_width,
            "layers": layers,
            "heads": text_width // case.integer("hp_head_width"),
        },
    }
    clip = open_clip.model.CLIP(**config, quick_gelu=True)
    missing, unknown = clip.load_state_dict(weights, strict=False)
    assert set(missing) <= {"attn_mask"}, missing
    assert not unknown, unknown
    clip.to(case.precision).requires_grad_(False)
    return MultimodalModel(OpenCLIPBackbone(clip, config, None, None, tokenizer))
