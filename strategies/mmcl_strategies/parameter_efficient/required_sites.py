"""Required sites: the places that a strategy adds to, or a sentence that says which backbones have them."""

from mmcl.errors import CompositionError
from mmcl.models.backbone import Backbone
from mmcl.models.sites import Attention, Site


def required_sites(backbone: Backbone, tower: str, kind: str, who: str) -> list[Site]:
    """The sites of a kind in a tower, in the order of layers.

    Raises:
        CompositionError: if it shows none, or there is no such tower.
    """
    sites = backbone.sites_of(tower, kind) if tower in backbone.towers else []
    if not sites:
        raise CompositionError(
            f"strategy {who!r}",
            found=f"the backbone's tower {tower!r} shows no site of kind {kind!r}",
            allowed="backbones that show such sites, as open_clip's transformers with a class token do",
            remedy="Choose one of them, such as glyph-clip or openclip:ViT-B-16/openai.",
        )
    return sites


def required_attentions(backbone: Backbone, tower: str, who: str) -> list[tuple[Site, Attention]]:
    """The attentions of a tower that say how they are computed, with their sites, in the order of layers.

    Raises:
        CompositionError: if there is none.
    """
    sites = required_sites(backbone, tower, "attention", who)
    found = [(site, site.attention) for site in sites if site.attention is not None]
    if not found:
        raise CompositionError(
            f"strategy {who!r}",
            found=f"no attention of the backbone's tower {tower!r} says how it is computed",
            allowed="backbones that show queries, keys and values, such as open_clip's usual transformers",
            remedy="Choose one of them, such as glyph-clip or openclip:ViT-B-16/openai.",
        )
    return found
