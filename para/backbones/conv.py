"""Convolutional backbones: any timm network with stages, plus a small feature pyramid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from para.backbones.base import Backbone
from para.errors import ConfigError

POOLED_CELLS = 4
"""The pooled feature is the mean of the last stage over each cell of a 4 x 4 grid. A single mean
forgets where things are, which a policy that regresses positions from it must know: with it, ACT
succeeded in 20 % instead of 95 % of in-distribution episodes of `vp_lr`."""


class FeaturePyramid(nn.Module):
    """Add coarse stages onto fine ones (Lin et al., 2017, without the 3x3 output convolution).

    Upsampling repeats cells (nearest), so the sum moves with the image in steps of a cell of the
    coarsest stage. The 3x3 convolution that smooths the sum belongs to the head, which adds the
    end-effector embedding first.
    """

    def __init__(self, in_channels: list[int], channels: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Stages, fine to coarse, (B, C_k, h_k, w_k) -> (B, channels, h_0, w_0)."""
        total = self.lateral[-1](stages[-1])
        for lateral, stage in zip(self.lateral[-2::-1], stages[-2::-1], strict=True):
            total = lateral(stage) + F.interpolate(total, size=stage.shape[-2:], mode="nearest")
        return total


class ConvBackbone(Backbone):
    """Stages of a timm convolutional network.

    Args:
        network: A timm model without classifier that has `forward_intermediates`.
        image_size: H = W of the images [px].
        map_size: h = w of the map: the pyramid starts at the coarsest stage that is at least as
            fine, resized if there is none of exactly this size. None: no pyramid, the map is the
            network's last stage as it is.
        channels: C of the map, where there is a pyramid.
    """

    def __init__(self, network: nn.Module, image_size: int, map_size: int | None, channels: int):
        super().__init__(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
        infos = getattr(network.feature_info, "info", network.feature_info)
        strides = [info["reduction"] for info in infos]
        if image_size % strides[-1]:
            raise ConfigError(
                f"env.image_size={image_size} must be a multiple of {strides[-1]}, the coarsest "
                "stride of this backbone, or its cells would not tile the image."
            )
        map_size = map_size or image_size // strides[-1]
        fine_enough = [stride for stride in strides if image_size // stride >= map_size]
        if not fine_enough:
            raise ConfigError(
                f"model.heatmap_size={map_size} is finer than this backbone's finest features: "
                f"{image_size // strides[0]} cells for an image of {image_size} px."
            )
        # of several stages with the same stride, the last: it has seen the most
        last = {stride: k for k, stride in enumerate(strides) if stride >= max(fine_enough)}
        self.indices = sorted(last.values())
        network.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)
        self.network = network

        widths = [infos[index]["num_chs"] for index in self.indices]
        self.pyramid = FeaturePyramid(widths, channels) if len(widths) > 1 else None
        self.map_size = (map_size, map_size)
        self.stride = image_size / map_size
        self.out_channels = channels if self.pyramid else widths[-1]
        self.pooled_channels = widths[-1] * POOLED_CELLS**2

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) -> map (B, C, h, w), pooled last stage (B, P)."""
        stages = self.network.forward_intermediates(
            images, indices=self.indices, intermediates_only=True
        )
        pooled = F.adaptive_avg_pool2d(stages[-1], POOLED_CELLS).flatten(1)
        total = self.pyramid(stages) if self.pyramid else stages[-1]
        if total.shape[-2:] != self.map_size:
            total = F.interpolate(total, self.map_size, mode="bilinear")
        return total, pooled
