"""Soft targets, and the losses against them.

Cell coordinates: cell (i, j) of an h x w map has its *centre* at (j, i), so a continuous pixel
coordinate u of an image of width W is the cell coordinate u * w / W - 0.5.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_target(cells: Tensor, size: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
    """Gaussian around cell coordinates (..., 2), as its two factors.

    Returns:
        rows (..., h) and columns (..., w), each summing to one over the cells that exist, also at
        borders; the target of cell (i, j) is rows[i] * columns[j], so it sums to one too.
    """
    factors = []
    for coordinate, cells_per_side in ((cells[..., 1], size[0]), (cells[..., 0], size[1])):
        grid = torch.arange(cells_per_side, device=cells.device, dtype=cells.dtype)
        log = -0.5 * ((grid - coordinate[..., None]) / sigma) ** 2
        factors.append(log.softmax(-1))
    return factors[0], factors[1]


def bin_target(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Split values (...) linearly between the two nearest of `bins` centres from low to high.

    Values outside [low, high] count as the nearest end. Returns (..., bins), summing to one.
    """
    position = (values - low) * ((bins - 1) / (high - low))
    position = position.clamp(0, bins - 1)
    grid = torch.arange(bins, device=values.device, dtype=values.dtype)
    return (1 - (grid - position[..., None]).abs()).clamp(min=0)


def circular_bin_target(angles: Tensor, bins: int) -> Tensor:
    """As `bin_target` for angles (...) [rad] on the circle; bin b is at -pi + 2 pi b / bins."""
    position = (angles + torch.pi) * (bins / (2 * torch.pi))
    grid = torch.arange(bins, device=angles.device, dtype=angles.dtype)
    distance = (grid - position[..., None]).remainder(bins)
    return (1 - torch.minimum(distance, bins - distance)).clamp(min=0)


def entropy(target: Tensor) -> Tensor:
    """Entropy (...) [nats] of distributions (..., n): the least that cross-entropy can reach."""
    return torch.special.entr(target).sum(-1)


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL divergence (...) [nats] from target (..., n) to softmax(logits): 0 is a perfect match.

    The gradient is that of the cross-entropy.
    """
    return logits.logsumexp(-1) - (target * logits).sum(-1) - entropy(target)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, T) where mask (B, T) is True; 0, with zero gradient, if it never is."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
