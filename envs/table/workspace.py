"""Every constant of the workspace, in metres, the grid of training positions, what is in reach.

World frame: z up, the table top is z = 0, the origin is the workspace centre; x points away from
the robot, y to the robot's left. The camera stands in front of the robot and looks back at it, so
image right is +y.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from para.errors import ConfigError

X_HALF = 0.195
Y_HALF = 0.30
"""Starts lie in [-X_HALF, X_HALF] x [-Y_HALF, Y_HALF]: 39 cm near-far, 60 cm wide."""
CORNERS = np.array([-X_HALF, -Y_HALF]), np.array([X_HALF, Y_HALF])
GRID = 16
"""Positions per side of the training grid."""

EE_START = np.array([-0.18, -0.047, 0.28])
"""Tool centre at the start of every episode: behind the workspace, so that it hides nothing."""
EE_LOW = np.array([-0.30, -0.50, 0.008])
EE_HIGH = np.array([0.30, 0.42, 0.40])
"""Commanded tool positions are clipped to this box: the table is not for pressing on."""


@cache
def grid_positions() -> np.ndarray:
    """The (256, 2) positions of the training grid [m], ends included; index = ix * 16 + iy.

    One array for all who ask, which cannot be written to.
    """
    x = np.linspace(-X_HALF, X_HALF, GRID)
    y = np.linspace(-Y_HALF, Y_HALF, GRID)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    grid.setflags(write=False)
    return grid


def somewhere(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A point (2,) [m] of a rectangle: `rng.uniform(low, high)`, in a sixth of its time."""
    return low + (high - low) * rng.random(2)


def reachable(
    position: np.ndarray, low: np.ndarray = EE_LOW, high: np.ndarray = EE_HIGH
) -> np.ndarray:
    """The tool position (3,) [m] that is nearest to `position` in the box that is commanded.

    Raises:
        ConfigError: It is no place, as where a ray missed (`ActionChunk.missed`).
    """
    position = np.asarray(position, np.float64)
    if not np.isfinite(position).all():
        raise ConfigError(f"The tool cannot go to {position.tolist()}: that is no place.")
    return np.clip(position, low, high)
