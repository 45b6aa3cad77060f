"""Where add-ons can be attached in transformers' encoders of FLAVA, and what lets them lengthen a sequence there."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mmcl.models.sites import Attention, Site

_ENTRANCE = "entrance"  # name of the child of an encoder whose result is the sequence that enters


def open_entrance(encoder: nn.Module) -> None:
    """Let the sequence that enters an encoder pass through a module, and its mask grow with the sequence.

    The module is an identity without weights: transformers makes the sequence of the fusion encoder in passing, and
    those of the others before their masks.
    """
    encoder.add_module(_ENTRANCE, nn.Identity())
    encoder.register_forward_pre_hook(_through_entrance)
    for layer in encoder.layer:  # type: ignore[union-attr]
        layer.register_forward_pre_hook(_with_grown_mask, with_kwargs=True)


def sites_of_encoder(tower: Any, *, masked: bool) -> Iterator[Site]:
    """The sites of a tower, kind by kind.

    ``tokens`` is the sequence that enters the encoder, with its positions, the first token in front; what lengthens it,
    here or at a ``block``, stands right behind that token, and is never masked. ``mlp`` is beside the MLP of a block,
    from what its layer norm is given to what is added to the residual stream; ``outputs`` is behind the last norm.

    Args:
        tower: transformers' image, text or multimodal model of FLAVA.
        masked: whether some of its tokens are padding. Such an attention says not how it is computed: its mask differs
            from row to row.
    """
    encoder, width = tower.encoder, int(tower.config.hidden_size)
    entrance = getattr(encoder, _ENTRANCE)
    yield Site("tokens", 0, entrance, entrance, width)
    layers = list(enumerate(encoder.layer))
    shown = None if masked else Attention(queried, projected, merged)
    for number, layer in layers:
        yield Site("attention", number, layer.attention, layer.attention, width, attention=shown)
    for number, layer in layers:
        yield Site("mlp", number, layer.layernorm_after, layer.output.dropout, width)
    for number, layer in layers:
        enter, activation, leave = layer.intermediate.dense, layer.intermediate.intermediate_act_fn, layer.output.dense
        if isinstance(activation, nn.Module):
            yield Site("units", number, activation, activation, enter.out_features, before=enter, behind=leave)
    for number, layer in layers:
        for part in (layer.intermediate.dense, layer.output.dense):
            yield Site("linear", number, part, part, part.out_features)
    for number, layer in layers:
        yield Site("block", number, layer, layer, width)
    yield Site("outputs", 0, tower.layernorm, tower.layernorm, width)


def queried(module: nn.Module, entered: Tensor) -> Tensor:
    """Queries ``[B, H, L, W / H]`` of FLAVA's attention."""
    inner: Any = module.attention
    return _by_head(inner, inner.query(entered))


def projected(module: nn.Module, entered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values ``[B, H, L, W / H]`` of FLAVA's attention."""
    inner: Any = module.attention
    queries, keys, values = (_by_head(inner, layer(entered)) for layer in (inner.query, inner.key, inner.value))
    return queries, keys, values


def merged(module: nn.Module, found: Tensor) -> Tensor:
    """``[B, L, W]`` of what the heads have found, through the output layer of FLAVA's attention."""
    joined = found.transpose(1, 2).flatten(2)
    value: Tensor = module.output(joined, joined)  # type: ignore[operator]
    return value


def grown(mask: Tensor, length: int) -> Tensor:
    """A mask ``[..., L]`` for a sequence of ``length`` tokens: those that are new are seen as the first one is."""
    return mask[..., _places(mask.shape[-1], length, mask.device)]


def _by_head(inner: Any, vectors: Tensor) -> Tensor:
    found: Tensor = vectors.unflatten(2, (inner.num_attention_heads, -1)).transpose(1, 2)
    return found


def _places(before: int, length: int, device: torch.device) -> Tensor:
    """``int64[length]``, whose entry of the mask each token has."""
    return (torch.arange(length, device=device) - (length - before)).clamp(min=0)


def _through_entrance(encoder: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (encoder.get_submodule(_ENTRANCE)(arguments[0]), *arguments[1:])


def _with_grown_mask(
    layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments of a layer, whose mask ``[B, 1, 1 or L, L]`` is one of the sequence before it was lengthened."""
    (sequence, *others), length = arguments, arguments[0].shape[1]
    mask = others[0] if others else named.get("attention_mask")
    if mask is None or mask.shape[-1] == length:
        return None
    places = _places(mask.shape[-1], length, mask.device)
    mask = (mask[..., places, :] if mask.shape[-2] > 1 else mask)[..., places]
    return ((sequence, mask, *others[1:]), named) if others else (arguments, {**named, "attention_mask": mask})
