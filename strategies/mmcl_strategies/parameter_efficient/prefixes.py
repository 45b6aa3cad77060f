"""Prefixes: keys and values that an attention finds in front of its own."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mmcl.models.sites import Attention, Here

Vectors = Float[Tensor, "B P W"]  # not projected any more
ByHead = Float[Tensor, "B H L D"]  # D is W / H


def by_head(vectors: Vectors, heads: int) -> Float[Tensor, "B H P D"]:
    """Vectors cut into the parts of each head."""
    rows, length, width = vectors.shape
    return vectors.reshape(rows, length, heads, width // heads).transpose(1, 2)


def attended(
    projected: tuple[ByHead, ByHead, ByHead], prefix: tuple[Vectors, Vectors], mask: Float[Tensor, "L L"] | None = None
) -> ByHead:
    """What each head finds, by one softmax over a prefix and the tokens; the prefix is never masked.

    Args:
        projected: queries, keys and values of the tokens.
        prefix: keys and values.
        mask: added to the scores of the tokens.
    """
    queries, keys, values = projected
    prefix_keys, prefix_values = (by_head(vectors, queries.shape[1]).to(queries.dtype) for vectors in prefix)
    if mask is not None:
        mask = functional.pad(mask.to(queries.dtype), (prefix_keys.shape[2], 0))
    keys, values = torch.cat([prefix_keys, keys], dim=2), torch.cat([prefix_values, values], dim=2)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def prefixed(
    here: Here,
    attention: Attention,
    rows: Bool[Tensor, " B"],
    prefix: tuple[Float[Tensor, "R P W"], Float[Tensor, "R P W"]],
) -> Float[Tensor, "B L W"]:
    """What leaves an attention in which some rows find a prefix; the others stay as they are.

    Args:
        here: at a site of kind ``attention``.
        attention: that of the site.
        rows: R of them.
        prefix: keys and values.
    """
    chosen = rows.nonzero().squeeze(1)
    projected = attention.project(here.module, here.entered[chosen])
    found = attention.merge(here.module, attended(projected, prefix, here.mask))
    return here.value.index_copy(0, chosen, found.to(here.value.dtype))
