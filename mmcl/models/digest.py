"""A digest of weights: two models with the same one are the same model."""

from hashlib import sha256

import torch
from torch import nn


def weights_digest(module: nn.Module) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of names, types, shapes and bytes of all that ``state_dict`` holds."""
    digest = sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
