"""The factorised head for tasks of millimetres: narrow heatmaps, their weight and their peaks."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from para.heads.base import HEADS, Labels
from para.heads.pixel import FactorisedConfig, FactorisedHead

HEATMAP_WEIGHT = 4.0
"""Of the heatmap's loss. An eighth of a cell off costs 0.014 nats at 0.75 cells, beside 0.5 nats of
heights, turns and moments that nobody can tell: as one part of a plain sum it is hardly learned."""


@HEADS.register("sharp", FactorisedConfig)
class SharpHead(FactorisedHead):
    """As `FactorisedHead`; the heatmap's loss is weighted, and its peak is fitted over 3 x 3 cells.

    With a target of 0.75 cells, the outer cells of a 5 x 5 window weigh a thousandth of the middle
    one, and a fit over all of them follows what nobody taught them.
    """

    fit_radius: ClassVar[int] = 1

    def loss(self, features: Tensor, labels: Labels) -> dict[str, Tensor]:
        """See `Head.loss`; the heatmap's part is HEATMAP_WEIGHT times as large."""
        parts = super().loss(features, labels)
        return parts | {"heatmap": HEATMAP_WEIGHT * parts["heatmap"]}
