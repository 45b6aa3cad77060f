"""Prefixes: keys and values that an attention finds in front of its own."""

import torch
from torch import Tensor
from torch.nn import functional

from mmcl.models.sites import Attention, Here


def by_head(vectors: Tensor, heads: int) -> Tensor:
    """``[B, P, W]`` as ``[B, H, P, W / H]``."""
    rows, length, width = vectors.shape
    return vectors.reshape(rows, length, heads, width // heads).transpose(1, 2)


def attended(
    projected: tuple[Tensor, Tensor, Tensor], prefix: tuple[Tensor, Tensor], mask: Tensor | None = None
) -> Tensor:
    """``[B, H, L, W / H]``: one softmax over a prefix and the tokens; the prefix is never masked.

    Args:
        projected: queries, keys and values of the tokens, each ``[B, H, L, W / H]``.
        prefix: keys and values ``[B, P, W]``, not projected any more.
        mask: ``[L, L]``, added to the scores of the tokens.
    """
    queries, keys, values = projected
    prefix_keys, prefix_values = (by_head(vectors, queries.shape[1]).to(queries.dtype) for vectors in prefix)
    if mask is not None:
        mask = functional.pad(mask.to(queries.dtype), (prefix_keys.shape[2], 0))
    keys, values = torch.cat([prefix_keys, keys], dim=2), torch.cat([prefix_values, values], dim=2)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def prefixed(here: Here, attention: Attention, rows: Tensor, prefix: tuple[Tensor, Tensor]) -> Tensor:
    """``[B, L, W]``, what leaves an attention in which some rows find a prefix; the others stay as they are.

    Args:
        here: at a site of kind ``attention``.
        attention: that of the site.
        rows: ``bool[B]``, R of them.
        prefix: keys and values ``[R, P, W]``.
    """
    chosen = rows.nonzero().squeeze(1)
    projected = attention.project(here.module, here.entered[chosen])
    found = attention.merge(here.module, attended(projected, prefix, here.mask))
    return here.value.index_copy(0, chosen, found.to(here.value.dtype))
