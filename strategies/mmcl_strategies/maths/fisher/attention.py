"""Self-attention of ``nn.MultiheadAttention``, opened between its two projections."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

Mask = Bool[Tensor, "L L"] | Float[Tensor, "L L"]


def self_attention(
    module: nn.MultiheadAttention, arguments: Sequence[Any], options: Mapping[str, Any]
) -> tuple[Float[Tensor, "B L W"], Mask | None] | None:
    """The query and the mask of a call that is plain self-attention, ready for ``attend``.

    Plain means: query, key and value are one tensor with a packed projection, the batch comes first, there is no mask
    per sample and no dropout. ``None`` for any other call.
    """
    query, *others = [*arguments, *(options[name] for name in ("query", "key", "value") if name in options)]
    mask = options.get("attn_mask")
    plain = (
        module.batch_first
        and query.ndim == 3
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
        and not (module.training and module.dropout)
        and len(others) == 2
        and all(other is query for other in others)
        and options.get("key_padding_mask") is None
        and (mask is None or mask.ndim == 2)
    )
    if not plain:
        return None
    return query, ~mask if mask is not None and not mask.is_floating_point() else mask


def attend(
    module: nn.MultiheadAttention, packed: Float[Tensor, "B L packed"], mask: Mask | None
) -> Float[Tensor, "B L packed//3"]:
    """From the packed projections of query, key and value to what the output projection reads."""
    heads = packed.reshape(*packed.shape[:2], 3, module.num_heads, module.head_dim).permute(2, 0, 3, 1, 4)
    query, key, value = heads.unbind(0)  # three indices would each send back a tensor as large as all of them
    attended = functional.scaled_dot_product_attention(query, key, value, mask)
    return attended.transpose(1, 2).flatten(2)
