"""Features of plain tensors, as a backbone gives them for a batch that lacks nothing."""

import torch
from torch import Tensor

from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features


def encoded(backbone: Backbone, modality: str, value: Tensor) -> Features:
    """Features of preprocessed values ``[B, ...]`` of one modality."""
    present = {modality: torch.ones(len(value), dtype=torch.bool, device=value.device)}
    return backbone.encode(Inputs({modality: value}, present, whole=frozenset({modality}))).features[modality]
