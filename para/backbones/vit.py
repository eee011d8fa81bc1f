"""ViT backbones: any timm VisionTransformer or Eva (DINOv2, DINOv3, DeiT, ...), at any size."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from para.backbones.base import Backbone


class ViTBackbone(Backbone):
    """Patch tokens of a timm ViT, upsampled; the pooled feature is the CLS token.

    Images are resized to the size that the network was built for, a whole number of patches
    (never padded), so that the patch grid covers exactly the image. Each token then becomes
    factor x factor cells by a learned projection (pixel shuffle), which keeps what it knows about
    position inside its patch.

    Args:
        network: A timm ViT without classifier.
        image_size: H = W of the images [px].
        map_size: h = w of the map. None: no projection, the map is the grid of tokens as it is.
        channels: C of the map, where there is a projection.
    """

    def __init__(self, network: nn.Module, image_size: int, map_size: int | None, channels: int):
        super().__init__(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
        self.network = network
        self.grid = network.patch_embed.grid_size
        self.input_size = network.patch_embed.img_size
        width = network.num_features
        cells = map_size or self.grid[0]
        self.map_size = (cells, cells)
        self.stride = image_size / cells
        self.out_channels = channels if map_size else width
        self.pooled_channels = width
        self.project = None
        if map_size:
            factor = math.ceil(map_size / self.grid[0])
            self.project = nn.Sequential(
                nn.Conv2d(width, channels * factor**2, 1), nn.PixelShuffle(factor)
            )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) -> map (B, C, h, w), CLS token or mean (B, P)."""
        if images.shape[-2:] != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True)
        tokens = self.network.forward_features(images)
        patches = tokens[:, self.network.num_prefix_tokens :]
        pooled = tokens[:, 0] if self.network.num_prefix_tokens else patches.mean(1)
        total = patches.transpose(1, 2).unflatten(2, self.grid)
        if self.project is not None:
            total = self.project(total)
            if total.shape[-2:] != self.map_size:
                total = F.interpolate(total, self.map_size, mode="bilinear")
        return total, pooled
