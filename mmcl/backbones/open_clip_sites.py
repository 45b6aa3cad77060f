"""Where add-ons can be attached in open_clip's own transformers."""

from collections.abc import Iterator

from torch import nn

from mmcl.data.modality import IMAGE
from mmcl.models.sites import Site


def sites_of_transformer(clip: nn.Module, tower: nn.Module, name: str) -> Iterator[Site]:
    """The sites of a tower, kind by kind.

    ``tokens`` is where the sequence is embedded and not yet normalised; ``mlp`` is beside the MLP of a block, from what
    its layer norm is given to what is added to the residual stream; at ``attention`` the value is that of all heads.

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
        yield Site("attention", layer, block.attn, block.attn, width)
    for layer, block in enumerate(blocks):
        yield Site("mlp", layer, block.ln_2, block.ls_2, width)
    for layer, block in enumerate(blocks):
        enter, activation, leave = (getattr(block.mlp, part, None) for part in ("c_fc", "gelu", "c_proj"))
        if isinstance(enter, nn.Linear) and isinstance(leave, nn.Linear) and activation is not None:
            yield Site("units", layer, activation, activation, enter.out_features, before=enter, behind=leave)
    for layer, block in enumerate(blocks):
        yield Site("block", layer, block, block, width)
    if name == IMAGE:
        yield Site("pooled", 0, tower, tower, int(tower.output_dim))  # type: ignore[arg-type]
