"""What every backbone is: images in, a feature map and a pooled feature out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Image -> feature map + pooled feature.

    Attributes:
        out_channels: C, channels of the feature map.
        pooled_channels: P, channels of the pooled feature.
        map_size: (h, w) of the feature map at the image size that the backbone was built for.
        stride: Image pixels per cell of the map.
        init: How the weights started: "random", "pretrained" or "file".
        frames: F, where there is one map per frame of a predicted video; None: a single map.
        frame_stride: Demo frames between those; frame 0 is the current image.

    Cell (i, j) of the map covers the image pixels [j, j + 1) * W / w by [i, i + 1) * H / h.
    """

    out_channels: int
    pooled_channels: int
    map_size: tuple[int, int]
    stride: float
    init: str
    frames: int | None = None
    frame_stride: int = 0

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) RGB in [0, 1] -> map (B, [F,] C, h, w), pooled (B, P)."""
        normalised = (images - self.mean) / self.std
        return self.features(normalised.contiguous(memory_format=torch.channels_last))

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same as `forward`, on normalised images."""
