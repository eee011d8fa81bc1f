"""What every backbone is: images in, a feature map and a pooled feature out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from omegaconf import MISSING
from torch import Tensor, nn

from para.errors import one_line
from para.fields import READING, number, require, word
from para.registry import Registry


@dataclass
class BackboneConfig:
    """What every backbone is told (configs/backbone)."""

    learns_video: ClassVar[bool] = False
    """It has a `video_loss`, and recipes can train it."""

    name: str = word(MISSING)
    """Name in run folders and results."""
    kind: str = MISSING
    """The registered component that reads the rest."""
    weights: str = "random"
    """random | pretrained (hub or its cache) | path of a weight file."""
    channels: int = number(64, least=1, most=16384, mark=READING)
    """Channels of the feature map that the heads read."""

    def rules(self, key: str, run: Any) -> None:
        """A file of weights exists."""
        require(
            self.weights in ("random", "pretrained")
            or (bool(self.weights.strip()) and Path(self.weights).expanduser().exists()),
            f"{key}.weights={one_line(self.weights)}: there is no such file or folder; or use "
            "random or pretrained.",
        )


class Backbone(nn.Module, ABC):
    """Image -> feature map + pooled feature.

    Attributes:
        out_channels: C, channels of the feature map.
        pooled_channels: P, channels of the pooled feature.
        map_size: (h, w) of the feature map at the image size that the backbone was built for.
        stride: Image pixels per cell of the map.
        init: How the weights started: "random", "pretrained" or "file".
        learns_video: It holds a video model, `self.video`, and has a `video_loss`.
        frames: F, where there is one map per frame of a predicted video; None: a single map.
        frame_stride: Demo frames between those; frame 0 is the current image.

    Cell (i, j) of the map covers the image pixels [j, j + 1) * W / w by [i, i + 1) * H / h.
    """

    learns_video = False

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


BACKBONES: Registry[Callable[[BackboneConfig, int, int | None], Backbone]] = Registry(
    "backbone", "backbone", packages=("para.backbones",)
)
"""Backbones by kind: called with (cfg, image_size, map_size), see `build_backbone`."""


def build_backbone(cfg: BackboneConfig, image_size: int, map_size: int | None) -> Backbone:
    """Build the network, start its weights as `cfg.weights` says, and add what makes the map.

    Args:
        cfg: Which network (configs/backbone).
        image_size: H = W of the images [px].
        map_size: h = w of the feature map. None: the network's own last map, unprojected, for
            policies that read tokens or the pooled feature.

    Raises:
        UnknownNameError: There is no such kind of backbone, or timm has no such model.
        ConfigError: The network cannot serve: no intermediate features, impossible sizes, or
            `width` / `norm` asked of a network that does not support it.
        CheckpointError: The weights cannot be had, read or matched.
    """
    backbone = BACKBONES[cfg.kind](cfg, image_size, map_size)
    backbone.init = cfg.weights if cfg.weights in ("random", "pretrained") else "file"
    return backbone
