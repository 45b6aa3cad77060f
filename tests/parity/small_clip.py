"""open_clip's CLIP in the size of a case, with its weights and with token ids in the place of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import open_clip
import torch
from torch import Tensor

from mmcl.backbones.openclip import OpenCLIPBackbone
from mmcl.models.multimodal import MultimodalModel

from .case import Case


@dataclass(frozen=True)
class RecordedTokenizer:
    """Texts are the numbers of rows of token ids.

    Attributes:
        rows: ``int64[N, L]``.
    """

    rows: Tensor
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int = 0

    @property
    def tokenizer(self) -> "RecordedTokenizer":
        """Where tokenisers of Hugging Face keep their special ids."""
        return self

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return self.rows[[int(text or 0) for text in texts]]


def small_clip(case: Case, tokenizer: RecordedTokenizer) -> MultimodalModel:
    """The model that ``in_names``, ``in_shapes`` and the sizes describe, at ``in_theta0``."""
    width, heads, layers = (case.integer(f"hp_{name}") for name in ("width", "heads", "layers"))
    config = {
        "embed_dim": case.integer("hp_embed"),
        "vision_cfg": {
            "image_size": case.integer("hp_image_size"),
            "patch_size": case.integer("hp_patch_size"),
            "width": width,
            "layers": layers,
            "head_width": width // heads,
        },
        "text_cfg": {
            "context_length": case.integer("hp_context"),
            "vocab_size": case.integer("hp_vocabulary"),
            "width": width,
            "layers": layers,
            "heads": heads,
        },
    }
    clip = open_clip.model.CLIP(**config, quick_gelu=True).to(case.precision)
    model = MultimodalModel(OpenCLIPBackbone(clip, config, None, None, tokenizer))
    names, shapes = case.arrays["in_names"].tolist(), case.arrays["in_shapes"].tolist()
    parameters = {name: clip.get_parameter(name) for name in names}
    assert len(parameters) == len(list(clip.parameters())), "the case has other weights than open_clip's CLIP"
    sizes = [parameter.numel() for parameter in parameters.values()]
    values = case.tensor("in_theta0").split(sizes)
    with torch.no_grad():
        for (name, parameter), shape, value in zip(parameters.items(), shapes, values, strict=True):
            assert list(parameter.shape) == [length for length in shape if length], name
            parameter.copy_(value.view_as(parameter))
    return model
