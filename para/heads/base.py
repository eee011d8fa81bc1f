"""What every pixel-aligned head is, and the part that they share: reading features at pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from para.config import ParaModelConfig
from para.heads.decode import refine_bins
from para.heads.targets import circular_bin_target, divergence, masked_mean


@dataclass(frozen=True)
class Labels:
    """What a head is trained towards.

    Attributes:
        cells: (B, T, 2) cell coordinates (column, row), see `para.heads.targets`.
        heights: (B, T) world z [m].
        gripper: (B, T) commanded opening in [0, 1].
        rotations: (B, T, 3) Euler angles [rad].
        visible: (B, T) bool: the label lies in the image; the others give no gradient.
    """

    cells: Tensor
    heights: Tensor
    gripper: Tensor
    rotations: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Decoded:
    """What a head predicts.

    Attributes:
        cells: (B, T, 2) cell coordinates.
        heights: (B, T) world z [m].
        gripper: (B, T) probability of the command "open".
        rotations: (B, T, 3) Euler angles [rad], or None.
        heatmaps: (B, T, h, w) probabilities.
    """

    cells: Tensor
    heights: Tensor
    gripper: Tensor
    rotations: Tensor | None
    heatmaps: Tensor


class Head(nn.Module, ABC):
    """Feature map (B, C, h, w) -> waypoints.

    A 3x3 convolution makes the features that everything else reads, so that what is read at one
    pixel knows its neighbourhood. A small network (`reader`), conditioned on the waypoint's index,
    turns the feature at a waypoint's pixel into gripper and rotation, and for the factorised head
    into heights. In training it reads all cells within `height_window` of the true one (teacher
    forcing), because at inference the chosen cell may be off by one.

    Args:
        cfg: The model's configuration.
        in_channels: C.
        reads_heights: The reader predicts height bins too.
    """

    def __init__(self, cfg: ParaModelConfig, in_channels: int, *, reads_heights: bool):
        super().__init__()
        self.cfg = cfg
        self.trunk = nn.Sequential(
            nn.GELU(), nn.Conv2d(in_channels, cfg.hidden, 3, padding=1), nn.GELU()
        )
        self.sizes = (cfg.height_bins if reads_heights else 0, 1, 3 * cfg.rotation_bins)
        self.waypoint = nn.Parameter(0.02 * torch.randn(cfg.horizon, cfg.hidden))
        self.reader = nn.Sequential(
            nn.Linear(cfg.hidden, 2 * cfg.hidden),
            nn.GELU(),
            nn.Linear(2 * cfg.hidden, sum(self.sizes)),
        )

    @abstractmethod
    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Loss parts [nats] averaged over visible labels: heatmap, height, gripper(, rotation)."""

    @abstractmethod
    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """Most likely waypoints of features (B, C, h, w); with `subcell` finer than a cell."""

    def read(self, trunk: Tensor, cells: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read the trunk's features at the cells around integer cells (B, T, 2).

        Returns:
            Logits of heights (B, T, K, Z or 0), gripper (B, T, K), rotation (B, T, K, 3, R or 0),
            where K = (2 * window + 1)^2. Cells outside the map count as the nearest inside.
        """
        height, width = trunk.shape[2:]
        offsets = torch.arange(-window, window + 1, device=cells.device)
        columns = (cells[..., 0, None] + offsets).clamp(0, width - 1)[:, :, None, :]
        rows = (cells[..., 1, None] + offsets).clamp(0, height - 1)[:, :, :, None]
        index = (rows * width + columns).flatten(2)
        batch = torch.arange(len(trunk), device=cells.device)[:, None, None]
        at_cells = trunk.flatten(2).transpose(1, 2)[batch, index]
        heights, gripper, rotations = self.reader(at_cells + self.waypoint[:, None]).split(
            self.sizes, -1
        )
        return heights.float(), gripper.float()[..., 0], rotations.float().unflatten(-1, (3, -1))

    def reading_loss(self, gripper: Tensor, rotations: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Loss parts of what was read around the true cells."""
        target = labels.gripper[..., None].expand_as(gripper)
        parts = {
            "gripper": masked_mean(
                F.binary_cross_entropy_with_logits(gripper, target, reduction="none").mean(-1),
                labels.visible,
            )
        }
        if self.cfg.rotation_bins:
            target = circular_bin_target(labels.rotations, self.cfg.rotation_bins)
            parts["rotation"] = masked_mean(
                divergence(rotations, target[:, :, None]).mean((-2, -1)), labels.visible
            )
        return parts

    def decode_heights(self, logits: Tensor, *, subcell: bool) -> Tensor:
        """Height logits (..., Z) -> world z (...) [m]."""
        cfg = self.cfg
        bins = logits.argmax(-1)
        position = refine_bins(logits, bins) if subcell else bins
        return cfg.height_min + position * (
            (cfg.height_max - cfg.height_min) / (cfg.height_bins - 1)
        )

    def decode_rotations(self, logits: Tensor, *, subcell: bool) -> Tensor | None:
        """Rotation logits (..., 3, R) -> Euler angles (..., 3) [rad] in [-pi, pi), or None."""
        if not self.cfg.rotation_bins:
            return None
        bins = logits.argmax(-1)
        position = refine_bins(logits, bins, circular=True) if subcell else bins
        angles = position * (2 * torch.pi / self.cfg.rotation_bins)
        return angles.remainder(2 * torch.pi) - torch.pi
