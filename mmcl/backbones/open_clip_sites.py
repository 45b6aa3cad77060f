"""Where add-ons can be attached in open_clip's own transformers."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import IMAGE
from mmcl.models.sites import Attention, Site


def sites_of_transformer(clip: nn.Module, tower: nn.Module, name: str) -> Iterator[Site]:
    """The sites of a tower, kind by kind.

    ``tokens`` is where the sequence is embedded and not yet normalised; ``mlp`` is beside the MLP of a block, from what
    its layer norm is given to what is added to the residual stream; at ``attention`` the value is that of all heads.
    ``outputs`` is there where the tower norms its tokens and then pools the first.

    Args:
        clip: the whole model, which holds what open_clip does not keep in a tower.
        tower: image or text.
        name: which of the two.
    """
    transformer = getattr(tower, "transformer", tower)
    blocks = list(getattr(transformer, "resblocks", ()))
    if not blocks:
        return
    width = int(transformer.width)  # type: ignore[arg-type]
    start = getattr(tower, "patch_dropout", None) if name == IMAGE else getattr(tower, "token_embedding", None)
    if start is None and name != IMAGE:
        start = getattr(clip, "token_embedding", None)
    if isinstance(start, nn.Module):
        yield Site("tokens", 0, start, start, width)
    for layer, block in enumerate(blocks):
        attention = Attention(queried, projected, merged) if _is_plain(block.attn) else None
        yield Site("attention", layer, block.attn, block.attn, width, attention=attention)
    for layer, block in enumerate(blocks):
        yield Site("mlp", layer, block.ln_2, block.ls_2, width)
    for layer, block in enumerate(blocks):
        enter, activation, leave = (getattr(block.mlp, part, None) for part in ("c_fc", "gelu", "c_proj"))
        if isinstance(enter, nn.Linear) and isinstance(leave, nn.Linear) and activation is not None:
            yield Site("units", layer, activation, activation, enter.out_features, before=enter, behind=leave)
    for layer, block in enumerate(blocks):
        for part in (getattr(block.mlp, name, None) for name in ("c_fc", "c_proj")):
            if isinstance(part, nn.Linear):
                yield Site("linear", layer, part, part, part.out_features)
    for layer, block in enumerate(blocks):
        yield Site("block", layer, block, block, width)
    if name == IMAGE:
        if tower.pool_type == "tok" and tower.attn_pool is None and not tower.final_ln_after_pool:
            norm = tower.ln_post
            assert isinstance(norm, nn.Module)
            yield Site("outputs", 0, norm, norm, width)
        yield Site("pooled", 0, tower, tower, int(tower.output_dim))  # type: ignore[arg-type]


def queried(module: nn.Module, entered: Tensor) -> Tensor:
    """Queries ``[B, H, L, W / H]`` of torch's attention."""
    assert isinstance(module, nn.MultiheadAttention)
    width, bias = module.embed_dim, module.in_proj_bias
    query: Tensor = functional.linear(entered, module.in_proj_weight[:width], None if bias is None else bias[:width])
    found: Tensor = query.unflatten(2, (module.num_heads, -1)).transpose(1, 2)
    return found


def projected(module: nn.Module, entered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values ``[B, H, L, W / H]`` of torch's attention."""
    assert isinstance(module, nn.MultiheadAttention)
    rows, length, width = entered.shape
    every = functional.linear(entered, module.in_proj_weight, module.in_proj_bias)
    shape = (rows, length, module.num_heads, width // module.num_heads)
    queries, keys, values = (part.reshape(shape).transpose(1, 2) for part in every.chunk(3, dim=-1))
    return queries, keys, values


def merged(module: nn.Module, found: Tensor) -> Tensor:
    """``[B, L, W]`` of what the heads have found, through the output projection of torch's attention."""
    assert isinstance(module, nn.MultiheadAttention)
    value: Tensor = module.out_proj(found.transpose(1, 2).flatten(2))
    return value


def _is_plain(module: nn.Module) -> bool:
    """Whether it is torch's own attention of a sequence to itself, rows first."""
    return isinstance(module, nn.MultiheadAttention) and module.batch_first and module.in_proj_weight is not None
