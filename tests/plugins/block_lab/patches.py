"""A backbone: one convolution over patches, and a second one that mixes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from para.backbones import BACKBONES, Backbone, BackboneConfig
from para.fields import number


@dataclass
class PatchesConfig(BackboneConfig):
    """configs/backbone/patches.yaml"""

    kind: str = "patches"
    patch: int = number(4, least=1, most=32)
    """Side of a patch [px]."""


@BACKBONES.register("patches", PatchesConfig)
class Patches(Backbone):
    """Images -> one map of patch features, and their mean."""

    def __init__(self, cfg: PatchesConfig, image_size: int, map_size: int | None):
        super().__init__((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        side = map_size or image_size // cfg.patch
        self.map_size, self.stride = (side, side), image_size / side
        self.out_channels = self.pooled_channels = cfg.channels
        self.embed = nn.Conv2d(3, cfg.channels, cfg.patch, stride=cfg.patch)
        self.mix = nn.Conv2d(cfg.channels, cfg.channels, 3, padding=1)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backbone`."""
        patches = F.adaptive_avg_pool2d(self.embed(images), self.map_size)
        cells = self.mix(F.relu(patches))
        return cells, cells.mean((2, 3))
