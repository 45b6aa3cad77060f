"""Fusion: from the features of several modalities to one vector per sample."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MeanFusion(nn.Module):
    """Mean over the modalities that are present in each sample; with one modality, its features unchanged."""

    def forward(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Fuse ``[B, D]`` features per modality under ``bool[B]`` presence into ``[B, D]``."""
        if len(features) == 1:
            return next(iter(features.values()))
        stacked = torch.stack(list(features.values()))
        mask = torch.stack([present[name] for name in features]).to(stacked.dtype).unsqueeze(-1)
        return (stacked * mask).sum(0) / mask.sum(0).clamp(min=1)
