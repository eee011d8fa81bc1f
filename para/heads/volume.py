"""The full-volume pixel-aligned head: one soft-max over pixels and heights together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from para.heads.base import HEADS, Decoded, Head, HeadConfig, Labels, sample
from para.heads.decode import peak_cells, refine_cells
from para.heads.targets import bin_target, entropy, gaussian_target, masked_mean


@dataclass
class VolumeConfig(HeadConfig):
    """configs/model/head/volume.yaml"""

    kind: str = "volume"


@HEADS.register("volume", VolumeConfig)
class VolumeHead(Head):
    """p(cell, height) over T x Z x h x w logits: a soft-max along and across all rays.

    Keeps several hypotheses of height apart at the price of Z times the logits of the factorised
    head; benchmarks/heads.py measures it.
    """

    def __init__(
        self, cfg: VolumeConfig, horizon: int, in_channels: int, timing: Tensor | None = None
    ):
        super().__init__(cfg, horizon, in_channels, timing, reads_heights=False)
        self.volume = nn.Conv2d(cfg.hidden, horizon * cfg.height_bins, 1)

    def _logits(self, trunk: Tensor) -> Tensor:
        """(B, T, Z, h, w); waypoint t's layer reads map t where each waypoint has its own."""
        shape = (self.horizon, self.cfg.height_bins)
        if trunk.ndim == 4:
            return self.volume(trunk).float().unflatten(1, shape)
        weight = self.volume.weight[:, :, 0, 0].unflatten(0, shape)
        logits = torch.einsum("btchw,tzc->btzhw", trunk, weight.to(trunk.dtype))
        return logits.float() + self.volume.bias.view(*shape, 1, 1)

    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """See `Head.loss`; heatmap + height is the joint divergence, by the chain rule."""
        cfg = self.cfg
        trunk = self.maps(features)
        logits = self._logits(trunk)
        rows, columns = gaussian_target(labels.cells, logits.shape[3:], cfg.target_sigma)
        bins = bin_target(labels.heights, *cfg.span, cfg.height_bins)
        along_rays = logits.logsumexp(2)  # unnormalised log of the marginal over heights
        least = entropy(rows) + entropy(columns)
        expected_marginal = torch.einsum("bthw,bth,btw->bt", along_rays, rows, columns)
        heatmap = along_rays.flatten(2).logsumexp(-1) - expected_marginal - least
        expected = torch.einsum("btzhw,btz,bth,btw->bt", logits, bins, rows, columns)
        height = expected_marginal - expected - entropy(bins)

        _, gripper, rotations = self.read(trunk, labels.read_cells)
        return {
            "heatmap": masked_mean(heatmap, labels.visible),
            "height": masked_mean(height, labels.visible),
            **self.reading_loss(gripper, rotations, labels),
        }

    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """See `Head.decode`: argmax over the volume, refined in the pixel plane, then in height.

        The height logits of a pixel between cells are interpolated, as features are in `read`.
        """
        trunk = self.maps(features)
        logits = self._logits(trunk)
        shape = logits.shape[:2]
        volumes = logits.flatten(0, 1)
        everyone = torch.arange(volumes.shape[0], device=volumes.device)
        best = volumes.flatten(2).amax(2).argmax(1)
        layer = volumes[everyone, best]
        peaks = peak_cells(layer)
        cells = refine_cells(layer, peaks) if subcell else peaks.to(layer.dtype)
        if subcell:
            columns = sample(volumes, cells[:, None])[:, 0]
        else:
            columns = volumes[everyone, :, peaks[:, 1], peaks[:, 0]]
        cells = cells.unflatten(0, shape)
        _, gripper, rotations = self.read(trunk, cells[:, :, None])
        return Decoded(
            cells=cells,
            heights=self.decode_heights(columns, subcell=subcell).unflatten(0, shape),
            gripper=gripper[:, :, 0].sigmoid(),
            rotations=self.decode_rotations(rotations[:, :, 0], subcell=subcell),
            heatmaps=volumes.flatten(1).softmax(-1).view_as(logits).sum(2),
        )
