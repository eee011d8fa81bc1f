"""Backbones: image -> feature map + pooled feature, any timm network or a video model by name."""

from para.backbones.base import BACKBONES, Backbone, BackboneConfig, build_backbone

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "build_backbone"]
