"""Where starts may lie, and from where they are seen."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.base import TRIES, EnvConfig
from envs.table import workspace as ws
from envs.table.viewpoints import PHIS, PHIS_DEG, THETAS, thetas_deg
from para.errors import ConfigError, UnknownNameError
from para.fields import choice, number, require

OFF_GRID = 0.002
"""Test positions keep at least this distance from every grid position [m]."""

_HALVES = {"left": (1, -1), "right": (1, 1), "near": (0, -1), "far": (0, 1)}
"""Region -> axis (0: x, 1: y) and sign of the half."""
BY_INDEX = ("corner", "grid", "spread")
"""Regions that are choices of grid positions."""
REGIONS = ("all", *_HALVES, *BY_INDEX)


@dataclass
class RegionConfig:
    """Positions on the workspace, which is [-0.195, 0.195] x [-0.30, 0.30] m around its centre."""

    kind: str = choice("all", REGIONS)
    """all | left | right | near | far | corner | grid | spread (as grid, but centred).
    left: y < 0 (left in the default image); near: x < 0 (near the robot)."""
    count: int | None = number(None, least=1, most=10_000)
    """Number of grid positions (corner, grid, spread); None takes all of the region. Of two
    corners, the near left and the far right one."""


@dataclass
class ViewConfig:
    """Viewpoints on the 8 x 8 cap, by index: theta 0..7 is 0 ... env.theta_max_deg, phi 0..7 is
    0 ... 315 deg.
    """

    thetas: list[int] = field(default_factory=lambda: [0])
    phis: list[int] = field(default_factory=lambda: [0])
    between: bool = False
    """Half a step further along both angles: views between those of the cap, which no demo has."""

    def rules(self, key: str, run: Any) -> None:
        """At least one viewpoint, and all of them exist."""
        for name, count in (("thetas", THETAS), ("phis", PHIS)):
            indices = getattr(self, name)
            require(
                bool(indices) and set(indices) <= set(range(count)),
                f"{key}.{name}={indices} must be indices from 0 to {count - 1}.",
            )
        require(
            not self.between or max(self.thetas) < THETAS - 1,
            f"{key}.thetas={self.thetas}: nothing lies beyond {THETAS - 1}, so {key}.between=true "
            f"takes indices from 0 to {THETAS - 2}.",
        )


def grid_indices(region: RegionConfig) -> list[int]:
    """Indices ix * 16 + iy of the grid positions in a region, sorted."""
    ix, iy = np.divmod(np.arange(ws.GRID**2), ws.GRID)
    if region.kind == "corner":
        # Compact, nested blocks: square shells around each corner, nearest cells first.
        corners = (0, 3) if region.count == 2 else range(4)
        per_corner, rest = divmod(region.count or 0, len(corners))
        if rest or not 1 <= per_corner <= ws.GRID**2 // 4:
            raise ConfigError(f"corner needs a count in 2, 4, 8, 12, ... 256, got {region.count}.")
        di, dj = np.minimum(ix, ws.GRID - 1 - ix), np.minimum(iy, ws.GRID - 1 - iy)
        order = np.lexsort((di, di**2 + dj**2, np.maximum(di, dj)))
        corner = 2 * (ix >= ws.GRID // 2) + (iy >= ws.GRID // 2)
        chosen = np.concatenate([order[corner[order] == c][:per_corner] for c in corners])
    elif region.kind in ("grid", "spread"):
        per_side = math.isqrt(region.count or 0)
        if not 1 <= per_side <= ws.GRID or per_side**2 != region.count or ws.GRID % per_side:
            raise ConfigError(
                f"{region.kind} needs a count of 1, 4, 16, 64 or 256, got {region.count}."
            )
        step = ws.GRID // per_side
        first = step // 2 if region.kind == "spread" else 0
        chosen = np.flatnonzero((ix % step == first) & (iy % step == first))
    else:
        chosen = np.flatnonzero(inside(region, ws.grid_positions()))
        if region.count is not None:
            raise ConfigError(
                f"A count only makes sense for corner, grid and spread, not {region.kind}."
            )
    return sorted(int(i) for i in chosen)


def nearest_grid_distance(positions: np.ndarray) -> np.ndarray:
    """Distance (...) [m] of positions (..., 2) to the nearest position of the training grid."""
    x, y = (np.abs(positions[..., k, None] - _LINES[k]).min(axis=-1) for k in range(2))
    return np.sqrt(x**2 + y**2)


_LINES = ws.grid_positions()[:: ws.GRID, 0], ws.grid_positions()[: ws.GRID, 1]
"""Where lines of the grid cross the x and the y axis [m]."""


def inside(region: RegionConfig, positions: np.ndarray) -> np.ndarray:
    """Whether positions (n, 2) lie in a region that is not a choice of grid positions."""
    half = _half(region)
    return np.ones(len(positions), bool) if half is None else half[1] * positions[:, half[0]] > 0


def _half(region: RegionConfig) -> tuple[int, int] | None:
    """Axis and sign of the half of the table that a region is; None: it is all of it."""
    if region.kind not in REGIONS:
        raise UnknownNameError("region", region.kind, REGIONS)
    return _HALVES.get(region.kind)


def spread(views: ViewConfig, env: EnvConfig) -> list[tuple[float, float]]:
    """All viewpoints (theta, phi) [deg], ordered so that any prefix is spread over both angles."""
    thetas, phis = thetas_deg(env), PHIS_DEG
    if views.between:
        thetas = tuple((low + high) / 2 for low, high in itertools.pairwise(thetas))
        phis = tuple(phi + 180 / PHIS for phi in phis)
    return [
        (thetas[theta], phis[views.phis[(round_ + k) % len(views.phis)]])
        for round_ in range(len(views.phis))
        for k, theta in enumerate(views.thetas)
    ]


def draw(
    rng: np.random.Generator, region: RegionConfig, avoid: np.ndarray, around: np.ndarray | None
) -> np.ndarray:
    """One off-grid position (2,) [m]: uniform in the region, or in the grid cell around a point.

    Args:
        rng: Decides it.
        region: Where it may lie.
        avoid: (N, 2) middles of cells in which it does not lie.
        around: (2,) middle of the cell in which it lies instead; None for none.
    """
    high = np.array([ws.X_HALF, ws.Y_HALF])
    low, half_cell = -high, high / (ws.GRID - 1)
    if around is not None:
        low, high = np.maximum(low, around - half_cell), np.minimum(high, around + half_cell)
    half = _half(region) if around is None else None
    for _ in range(TRIES):
        position = ws.somewhere(rng, low, high)
        if half is not None and half[1] * position[half[0]] <= 0:
            continue
        avoided = len(avoid) and (np.abs(avoid - position) <= half_cell).all(axis=-1).any()
        if not avoided and nearest_grid_distance(position) >= OFF_GRID:
            return position
    raise ConfigError(
        f"No start lies in region {region.kind} and outside what is avoided: none of {TRIES} draws."
    )
