"""Feature-wise linear modulation of a map by an instruction (FiLM, Perez et al., 2018)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FilmBlock(nn.Module):
    """A residual block whose channels the instruction scales and shifts (their Figure 3, left).

    1x1 convolution, ReLU; 3x3 convolution, FiLM, ReLU; added to the input. Without their batch
    norm. What is scaled and shifted passes a ReLU, so that words choose which detections are seen
    at all, and a later layer chooses among those per waypoint: first the bowl, then the plate.

    Args:
        channels: C of the map.
        told: F, features of an instruction.
    """

    def __init__(self, channels: int, told: int):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.look = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(told, 2 * channels)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """Maps (B, C, h, w), features of instructions (B, F) -> maps (B, C, h, w)."""
        scale, shift = self.film(told)[..., None, None].chunk(2, 1)
        seen = self.look(F.relu(self.mix(features)))
        return features + F.relu((1 + scale) * seen + shift)
