"""What every pixel-aligned head is, and the part that they share: reading features at pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor, nn

from para.fields import LOCAL, choice, number, require
from para.heads.decode import refine_bins
from para.heads.targets import circular_bin_target, divergence, masked_mean
from para.registry import Registry

_PERIODS = (1.0, 1.0, 2.0)
"""Periods of roll, pitch and turn in a full circle."""
COUNTED = ("height", "depth")
"""What bins may count along a ray."""
AUTO = "auto"
"""One of them, which training chooses (para/training/along.py)."""


@dataclass
class HeadConfig:
    """What every pixel-aligned head is told (configs/model/head)."""

    kind: str = MISSING
    """The registered component that reads the rest."""
    hidden: int = number(64, least=1, most=16384)
    along: str = choice("height", (*COUNTED, AUTO))
    """What bins count along a ray: the height of the plane that it meets, or, for cameras low over
    the table, depth (docs/robot.md). auto: training chooses by the elevation of its cameras."""
    elevation_deg: float | None = number(None, least=-90, most=90, mark=LOCAL)
    """Of the training cameras over the table, where `along` was chosen by it [deg]; training sets
    it, not the user."""
    height_bins: int = number(32, least=2, most=4096)
    """Bins of heights, or of depths."""
    height_min: float = number(0.0, least=-10, most=10)
    """Lowest bin centre, world z [m]."""
    height_max: float = number(0.32, least=-10, most=10)
    """Highest bin centre, world z [m]."""
    depth_min: float = number(-0.5, least=-10, most=10)
    """Nearest bin centre, in front of the world's origin, along the optical axis [m]."""
    depth_max: float = number(0.5, least=-10, most=10)
    """Farthest bin centre, behind the world's origin [m]."""
    target_sigma: float = number(1.5, above=0, most=1024)
    """Standard deviation of the soft heatmap target [cells]."""
    rotation_bins: int = number(0, least=0, most=3600)
    """Bins per angle; 0 predicts no rotation. configs/model sets it where a task turns the hand."""

    def rules(self, key: str, run: Any) -> None:
        """Bins go upwards."""
        for name in ("height", "depth"):
            low, high = (getattr(self, f"{name}_{end}") for end in ("min", "max"))
            require(
                low < high, f"{key}.{name}_min={low} m must be below {key}.{name}_max={high} m."
            )

    @property
    def span(self) -> tuple[float, float]:
        """Centres of the first and the last bin [m]."""
        if self.along == "depth":
            return self.depth_min, self.depth_max
        return self.height_min, self.height_max


@dataclass(frozen=True)
class Labels:
    """What a head is trained towards.

    Attributes:
        cells: (B, T, 2) cell coordinates (column, row), see `para.heads.targets`.
        heights: (B, T) what bins count (`HeadConfig.along`), of the waypoint [m].
        read_cells: (B, T, K, 2) cell coordinates around `cells` where the head is read.
        read_heights: (B, T, K) the same of the nearest point to the waypoint on each ray [m].
        gripper: (B, T) commanded opening in [0, 1].
        rotations: (B, T, 3) roll, pitch and turn in the image [rad]; see `Head`.
        visible: (B, T) bool: the label lies in the image; the others give no gradient.
    """

    cells: Tensor
    heights: Tensor
    read_cells: Tensor
    read_heights: Tensor
    gripper: Tensor
    rotations: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Decoded:
    """What a head predicts.

    Attributes:
        cells: (B, T, 2) cell coordinates.
        heights: (B, T) what bins count (`HeadConfig.along`) [m].
        gripper: (B, T) probability of the command "open".
        rotations: (B, T, 3) roll, pitch and turn in the image [rad], or None; see `Head`.
        heatmaps: (B, T, h, w) probabilities.
    """

    cells: Tensor
    heights: Tensor
    gripper: Tensor
    rotations: Tensor | None
    heatmaps: Tensor


class Head(nn.Module, ABC):
    """Feature map (B, C, h, w), or one per video frame (B, F, C, h, w) -> waypoints.

    A 3x3 convolution makes the features that everything else reads, so that what is read at one
    pixel knows its neighbourhood. A small network (`reader`), conditioned on the waypoint's index,
    turns the feature at a waypoint's pixel into gripper and rotation, and for the factorised head
    into heights. Features are interpolated: a cell is 4 cm wide, so a height that was read for a
    whole cell would not agree with the pixel that was chosen inside it. In training the true pixel
    and points around it are read (teacher forcing), because at inference the pixel may be off.

    Rotations are the hand's Euler angles (extrinsic xyz), with the last one, its yaw, as it is seen
    in the image (`Camera.turn_in_image`): what is read at a pixel then turns with the image. It is
    a line's angle, modulo pi, as the gripper is symmetric; the others, roll and pitch, are about
    axes that turn with the yaw, so no camera enters them.

    Args:
        cfg: The head's configuration.
        horizon: T, waypoints per prediction.
        in_channels: C.
        timing: (T, F) weights of the frames' features for each waypoint, where there are frames.
        reads_heights: The reader predicts height bins too.
    """

    def __init__(
        self,
        cfg: HeadConfig,
        horizon: int,
        in_channels: int,
        timing: Tensor | None = None,
        *,
        reads_heights: bool,
    ):
        super().__init__()
        self.cfg, self.horizon = cfg, horizon
        self.register_buffer("timing", timing, persistent=False)
        self.trunk = nn.Sequential(
            nn.ReLU(), nn.Conv2d(in_channels, cfg.hidden, 3, padding=1), nn.ReLU()
        )
        self.sizes = (cfg.height_bins if reads_heights else 0, 1, 3 * cfg.rotation_bins)
        width, outputs = 2 * cfg.hidden, sum(self.sizes)
        self.waypoint = nn.Parameter(torch.randn(horizon, cfg.hidden))
        self.reader = nn.Sequential(nn.Linear(cfg.hidden, width), nn.GELU())
        # one output layer per waypoint: with a shared one, "when" is learned many times slower
        self.outputs = nn.Parameter(torch.randn(horizon, width, outputs) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(horizon, 1, outputs))

    @abstractmethod
    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Loss parts [nats] averaged over visible labels: heatmap, height, gripper(, rotation)."""

    @abstractmethod
    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """Most likely waypoints of features; with `subcell` finer than a cell."""

    def maps(self, features: Tensor) -> Tensor:
        """The trunk's features: one map (B, C, h, w), or each waypoint's own (B, T, C, h, w).

        The trunk sees every frame of a video once; a waypoint between two frames mixes theirs.
        """
        if self.timing is None:
            return self.trunk(features)
        frames = self.trunk(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return torch.einsum("bfchw,tf->btchw", frames, self.timing.to(frames.dtype))

    def read(self, trunk: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read maps, bilinearly interpolated, at cell coordinates (B, T, K, 2).

        Returns:
            Logits of heights (B, T, K, Z or 0), gripper (B, T, K), rotation (B, T, K, 3, R or 0).
            Outside the map counts as its border.
        """
        if trunk.ndim == 5:  # each waypoint is read in its own map
            at_cells = sample(trunk.flatten(0, 1), cells.flatten(0, 1))
            at_cells = at_cells.unflatten(0, cells.shape[:2])
        else:
            at_cells = sample(trunk, cells.flatten(1, 2)).unflatten(1, cells.shape[1:3])
        read = self.reader(at_cells + self.waypoint[:, None])
        read = torch.einsum("btkc,tcz->btkz", read, self.outputs.to(read.dtype)) + self.bias
        heights, gripper, rotations = read.split(self.sizes, -1)
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
            turns = labels.rotations * labels.rotations.new_tensor(_PERIODS)
            target = circular_bin_target(turns, self.cfg.rotation_bins)
            parts["rotation"] = masked_mean(
                divergence(rotations, target[:, :, None]).mean(-2).sum(-1), labels.visible
            )
        return parts

    def decode_heights(self, logits: Tensor, *, subcell: bool) -> Tensor:
        """Height logits (..., Z) -> what bins count (...) [m]."""
        low, high = self.cfg.span
        bins = logits.argmax(-1)
        position = refine_bins(logits, bins) if subcell else bins
        return low + position * ((high - low) / (self.cfg.height_bins - 1))

    def decode_rotations(self, logits: Tensor, *, subcell: bool) -> Tensor | None:
        """Rotation logits (..., 3, R) -> angles (..., 3) [rad], or None.

        Roll and pitch lie in [-pi, pi), the turn in the image in [-pi / 2, pi / 2).
        """
        if not self.cfg.rotation_bins:
            return None
        bins = logits.argmax(-1)
        position = refine_bins(logits, bins, circular=True) if subcell else bins
        angles = position * (2 * torch.pi / self.cfg.rotation_bins)
        return (angles.remainder(2 * torch.pi) - torch.pi) / angles.new_tensor(_PERIODS)


HEADS: Registry[type[Head]] = Registry("head", "model/head", packages=("para.heads", "baselines"))
"""Pixel-aligned heads by kind, with arguments (cfg, horizon, in_channels, timing)."""


def sample(maps: Tensor, cells: Tensor) -> Tensor:
    """Maps (N, C, h, w), bilinearly interpolated, at cell coordinates (N, K, 2): (N, K, C).

    Outside the map counts as its border. Only the four cells around each point are read, and only
    they get a gradient: `grid_sample` passes over whole maps, and has no repeatable gradient on
    GPUs.
    """
    count, channels, height, width = maps.shape
    last = cells.new_tensor([width - 1, height - 1])
    inside = torch.minimum(cells.clamp(min=0), last)
    corner = torch.minimum(inside.floor(), last - 1)
    right, down = (inside - corner).unbind(-1)
    weights = torch.stack(
        [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], -1
    )
    column, row = corner.long().unbind(-1)
    first = torch.arange(count, device=cells.device)[:, None] * (height * width)
    first = first + row * width + column
    around = torch.stack([first, first + 1, first + width, first + width + 1], -1)
    table = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    return (F.embedding(around, table).float() * weights[..., None]).sum(-2)


def frame_weights(horizon: int, waypoint_stride: int, frames: int, frame_stride: int) -> Tensor:
    """Weights (T, F) of linear interpolation in time between frames, for each waypoint.

    Waypoint t = 1 ... T is t * waypoint_stride demo frames ahead, frame k is k * frame_stride.
    """
    position = torch.arange(1, horizon + 1) * (waypoint_stride / frame_stride)
    position = position.clamp(max=frames - 1)
    return (1 - (position[:, None] - torch.arange(frames)).abs()).clamp(min=0)
