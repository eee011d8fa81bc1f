"""Pixels without a heatmap loss: PARA, whose pixel is the expectation of a soft-argmax.

Everything is as in PARA's factorised head (heights and gripper are read at the pixel), but the maps
are never told where a waypoint is: their soft-max is a weight, the weighted mean of the cells is
the keypoint (Levine et al., 2016), and its distance to the label is what is minimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from para.heads.base import HEADS, Decoded, Labels
from para.heads.pixel import FactorisedConfig, FactorisedHead
from para.heads.targets import masked_mean


@dataclass
class KeypointConfig(FactorisedConfig):
    """configs/model/head/keypoint.yaml"""

    kind: str = "keypoint"


@HEADS.register("keypoint", KeypointConfig)
class KeypointHead(FactorisedHead):
    """T keypoints by spatial soft-argmax, and heights read at them."""

    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """See `Head.loss`; instead of the heatmap's it has the distance L1 in cells."""
        trunk = self.maps(features)
        cells = _expected_cells(self._logits(trunk).flatten(2).softmax(-1), trunk.shape[-2:])
        heights, gripper, rotations = self.read(trunk, labels.read_cells)
        return {
            "keypoint": masked_mean((cells - labels.cells).abs().sum(-1), labels.visible),
            "height": masked_mean(self._height_loss(heights, labels), labels.visible),
            **self.reading_loss(gripper, rotations, labels),
        }

    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """See `Head.decode`; a keypoint is between cells in any case."""
        trunk = self.maps(features)
        probability = self._logits(trunk).flatten(2).softmax(-1)
        cells = _expected_cells(probability, trunk.shape[-2:])
        heatmaps = probability.unflatten(2, trunk.shape[-2:])
        return self._read_at(trunk, cells, heatmaps, subcell=subcell)


def _expected_cells(probability: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean cell coordinates (B, T, 2), (column, row), of probabilities (B, T, h * w)."""
    rows, columns = (torch.arange(n, device=probability.device).float() for n in size)
    maps = probability.unflatten(2, size)
    # no matrix products: autocast would do them in half precision
    return torch.stack([(maps.sum(2) * columns).sum(-1), (maps.sum(3) * rows).sum(-1)], -1)
