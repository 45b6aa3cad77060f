"""Backbones: towers, what holds them together, and the plugins that build it."""

from mmcl.models.backbone.backbone import Backbone
from mmcl.models.backbone.plugin import BackbonePlugin
from mmcl.models.backbone.tower import Encoded, Features, Tower, Vocabulary

__all__ = ["Backbone", "BackbonePlugin", "Encoded", "Features", "Tower", "Vocabulary"]
