"""From logits to coordinates finer than a cell: argmax, then a local step around it."""

from __future__ import annotations

import torch
from torch import Tensor

from para.doubles import double_on_cpu


def peak_cells(logits: Tensor) -> Tensor:
    """The argmax of maps (N, h, w) as integer cell coordinates (N, 2), (column, row)."""
    flat = logits.flatten(1).argmax(1)
    width = logits.shape[2]
    return torch.stack([flat % width, flat // width], 1)


def refine_cells(logits: Tensor, cells: Tensor, *, radius: int = 2) -> Tensor:
    """Move integer cells (N, 2) to the maximum of a parabola fitted to the logits around them.

    The log of a Gaussian is a parabola, so a Gaussian heatmap decodes exactly, wherever its centre
    lies within the cell; a soft-argmax over a window narrower than the Gaussian is biased towards
    the cell's centre. Least squares over a window (DARK, Zhang et al., 2020, uses finite
    differences over 3 x 3). The window is moved inwards at borders. Where the fit has no maximum,
    or one more than a cell away, the expectation over the window's probabilities is taken. In 64
    bits on the CPU: the windows are small, and the fit is solved once.

    Args:
        logits: (N, h, w).
        cells: (N, 2) their argmax, (column, row).
        radius: Cells around the argmax that the fit sees, 2 for 5 x 5. The cross-entropy teaches a
            logit as much as its cell weighs: a fit that looks beyond follows what nobody taught.

    Returns:
        (N, 2) float cell coordinates.
    """
    height, width = logits.shape[1:]
    radius = min(radius, (height - 1) // 2, (width - 1) // 2)
    offsets = torch.arange(-radius, radius + 1, device=logits.device)
    column = cells[:, 0].clamp(radius, width - 1 - radius)
    row = cells[:, 1].clamp(radius, height - 1 - radius)
    rows = (row[:, None] + offsets)[:, :, None]
    columns = (column[:, None] + offsets)[:, None, :]
    everyone = torch.arange(logits.shape[0], device=logits.device)[:, None, None]
    window = double_on_cpu(logits[everyone, rows, columns].flatten(1))
    window = window - window.amax(1, keepdim=True)

    steps = torch.arange(-radius, radius + 1, dtype=torch.float64, device="cpu")
    y, x = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    design = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], 1)
    _, gx, gy, a, b, c = (window @ torch.linalg.pinv(design).T).unbind(1)
    # gradient (gx + 2 a x + c y, gy + c x + 2 b y) = 0
    determinant = 4 * a * b - c * c
    concave = (a < 0) & (determinant > 1e-9)
    safe = torch.where(concave, determinant, 1.0)
    fitted = torch.stack([(c * gy - 2 * b * gx) / safe, (c * gx - 2 * a * gy) / safe], 1)

    probability = window.softmax(1)
    expected = torch.stack([probability @ x, probability @ y], 1)
    centre, peak = torch.stack([column, row], 1).cpu(), cells.cpu()
    from_peak = (centre + fitted - peak).abs().amax(1)
    usable = concave & (from_peak <= 1)
    refined = centre + torch.where(usable[:, None], fitted, expected)
    return refined.clamp(peak - 1, peak + 1).to(logits.dtype).to(logits.device)


def refine_bins(logits: Tensor, bins: Tensor, *, circular: bool = False) -> Tensor:
    """Expected bin coordinate over the argmax bin and its two neighbours.

    Exact for targets that are split linearly between two bins.

    Args:
        logits: (..., Z).
        bins: (...) integer argmax.
        circular: The last bin's neighbour is the first.
    """
    count = logits.shape[-1]
    offsets = torch.arange(-1, 2, device=logits.device)
    neighbours = bins[..., None] + offsets
    wrapped = neighbours % count if circular else neighbours.clamp(0, count - 1)
    local = logits.gather(-1, wrapped)
    if not circular:
        local = local.masked_fill(wrapped != neighbours, -torch.inf)
    return bins + (local.softmax(-1) * offsets).sum(-1)
