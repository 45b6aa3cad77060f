"""Features of plain tensors, as a backbone gives them for a batch that lacks nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features


def encoded(backbone: Backbone, modality: str, value: Tensor) -> Features:
    """Features of preprocessed values ``[B, ...]`` of one modality."""
    return encoded_by(backbone, modality, {modality: value})


def encoded_by(backbone: Backbone, tower: str, values: Mapping[str, Tensor]) -> Features:
    """Features of a tower for preprocessed values of all that it reads, modality -> ``[B, ...]``."""
    present = {name: torch.ones(len(value), dtype=torch.bool, device=value.device) for name, value in values.items()}
    return backbone.encode(Inputs(values, present, whole=frozenset(values)), only=(tower,)).features[tower]
