"""Singular fusion: a layer between its old and its new weights, along the singular directions of the old ones.

Of Huang, Cao, Lu and Liu, ECCV 2024 (RAPF).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def singularly_fused(old: Float[Tensor, "D D"], new: Float[Tensor, "D D"], mix_bias: float) -> Float[Tensor, "D D"]:
    """``W_old + U (m * D)`` with ``W_old = U S V^T``, ``D = U^T (W - W_old)``, ``m = min(|D| / max|D| + b, 1)``.

    What has changed most along an old direction is taken in full, what has hardly changed to a share of b. With b = 1
    these are the new weights; so they are where nothing has changed. It is computed in double precision.

    Args:
        old: W_old, before an experience.
        new: W, after it.
        mix_bias: b, the least share.
    """
    before = old.double()
    U = torch.linalg.svd(before).U
    D = U.T @ (new.double() - before)
    largest = D.abs().max().clamp(min=torch.finfo(D.dtype).tiny)  # 0 where nothing has changed
    share = (D.abs() / largest + mix_bias).clamp(max=1)
    fused: Tensor = before + U @ (share * D)
    return fused.to(new.dtype)
