"""Temporal ensembling (Zhao et al., 2023): what earlier plans said about the same waypoint counts.

A policy plans again before its waypoints are used up, so several plans speak of the same one. Plans
are aligned by waypoints, not by the clock: the servo takes the time that it takes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from para.types import ActionChunk

DECAY = 0.01
"""m: the i-th oldest prediction of a waypoint weighs exp(-m i), as published."""


class Ensemble:
    """The plans of one episode that still reach into the future."""

    def __init__(self) -> None:
        self._plans: list[tuple[int, np.ndarray]] = []
        self._done = 0

    def mix(self, chunk: ActionChunk) -> ActionChunk:
        """A new plan, its positions averaged with what the plans before predicted for them.

        The gripper gets the command that the average is nearer to. A waypoint without a place
        (`ActionChunk.missed`) does not count. Rotations, pixels and heatmaps stay the new plan's.
        """
        horizon = len(chunk.positions)
        self._plans.append((self._done, np.column_stack([chunk.positions, chunk.gripper])))
        self._plans = [(at, plan) for at, plan in self._plans if at + horizon > self._done]
        aligned = np.full((len(self._plans), horizon, 4), np.nan)
        for row, (at, plan) in zip(aligned, self._plans, strict=True):
            row[: horizon - (self._done - at)] = plan[self._done - at :]
        known = np.isfinite(aligned).all(-1)
        weights = np.where(known, np.exp(-DECAY * (known.cumsum(0) - 1)), 0)[..., None]
        with np.errstate(invalid="ignore"):  # 0 / 0 where nobody has a place: NaN stays NaN
            mean = np.where(known[..., None], weights * aligned, 0).sum(0) / weights.sum(0)
        gripper = np.where(known.any(0), mean[:, 3] > 0.5, chunk.gripper)
        return replace(chunk, positions=mean[:, :3], gripper=gripper.astype(chunk.gripper.dtype))

    def advance(self, count: int) -> None:
        """`count` waypoints of the last plan were executed."""
        self._done += count
