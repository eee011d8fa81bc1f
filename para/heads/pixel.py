"""The factorised pixel-aligned head: where in the image first, then how high, at one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from para.heads.base import HEADS, Decoded, Head, HeadConfig, Labels
from para.heads.decode import peak_cells, refine_cells
from para.heads.targets import bin_target, divergence, entropy, gaussian_target, masked_mean


@dataclass
class FactorisedConfig(HeadConfig):
    """configs/model/head/factorised.yaml"""

    kind: str = "factorised"


@HEADS.register("factorised", FactorisedConfig)
class FactorisedHead(Head):
    """p(cell) p(height | cell): T heatmaps, and heights read at one cell.

    Costs T maps instead of T x Z: the heights are read at one pixel.

    Attributes:
        fit_radius: Cells around a heatmap's argmax that say where it peaks.
    """

    fit_radius: ClassVar[int] = 2

    def __init__(
        self, cfg: FactorisedConfig, horizon: int, in_channels: int, timing: Tensor | None = None
    ):
        super().__init__(cfg, horizon, in_channels, timing, reads_heights=True)
        self.heatmaps = nn.Conv2d(cfg.hidden, horizon, 1)

    def _logits(self, trunk: Tensor) -> Tensor:
        """(B, T, h, w); waypoint t's layer reads map t where each waypoint has its own."""
        if trunk.ndim == 4:
            return self.heatmaps(trunk).float()
        weight, bias = self.heatmaps.weight[:, :, 0, 0], self.heatmaps.bias
        logits = torch.einsum("btchw,tc->bthw", trunk, weight.to(trunk.dtype))
        return logits.float() + bias[:, None, None]

    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """See `Head.loss`."""
        trunk = self.maps(features)
        logits = self._logits(trunk)
        sigma = self.cfg.target_sigma
        rows, columns = gaussian_target(labels.cells, logits.shape[2:], sigma)
        expected_logit = torch.einsum("bthw,bth,btw->bt", logits, rows, columns)
        least = entropy(rows) + entropy(columns)
        heatmap = logits.flatten(2).logsumexp(-1) - expected_logit - least

        heights, gripper, rotations = self.read(trunk, labels.read_cells)
        return {
            "heatmap": masked_mean(heatmap, labels.visible),
            "height": masked_mean(self._height_loss(heights, labels), labels.visible),
            **self.reading_loss(gripper, rotations, labels),
        }

    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """See `Head.decode`."""
        trunk = self.maps(features)
        logits = self._logits(trunk)
        shape = logits.shape[:2]
        maps = logits.flatten(0, 1)
        peaks = peak_cells(maps)
        cells = (
            refine_cells(maps, peaks, radius=self.fit_radius) if subcell else peaks.to(maps.dtype)
        )
        heatmaps = maps.flatten(1).softmax(-1).view_as(logits)
        return self._read_at(trunk, cells.unflatten(0, shape), heatmaps, subcell=subcell)

    def _read_at(self, trunk: Tensor, cells: Tensor, heatmaps: Tensor, *, subcell: bool) -> Decoded:
        """What the head says of the waypoints at the chosen cells (B, T, 2)."""
        heights, gripper, rotations = self.read(trunk, cells[:, :, None])
        return Decoded(
            cells=cells,
            heights=self.decode_heights(heights[:, :, 0], subcell=subcell),
            gripper=gripper[:, :, 0].sigmoid(),
            rotations=self.decode_rotations(rotations[:, :, 0], subcell=subcell),
            heatmaps=heatmaps,
        )

    def _height_loss(self, heights: Tensor, labels: Labels) -> Tensor:
        """Divergence of the bins (B, T, R, Z), read at R cells, from the labels; (B, T)."""
        cfg = self.cfg
        target = bin_target(labels.read_heights, *cfg.span, cfg.height_bins)
        return divergence(heights, target).mean(-1)
