"""Temporal ensembling (Zhao et al., 2023): what earlier plans said about the same waypoint counts.

A policy plans again before its waypoints are used up, so several plans speak of the same one. Plans
are aligned by waypoints, not by the clock: the servo takes the time that it takes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from para.types import ActionChunk

DECAY = 0.01
"""m: the i-th oldest prediction of a waypoint weighs exp(-m i), as published."""


class Ensemble:
    """The plans of one episode that still reach into the future."""

    def __init__(self) -> None:
        self._plans: list[tuple[int, np.ndarray]] = []
        self._done = 0

    def mix(self, chunk: ActionChunk) -> ActionChunk:
        """A new plan, its positions and rotations averaged with what the plans before said of them.

        The gripper gets the command that the average is nearer to. A waypoint without a place
        (`ActionChunk.missed`) does not count. Pixels and heatmaps stay the new plan's.
        """
        horizon, turns = len(chunk.positions), chunk.rotations
        told = [chunk.positions, chunk.gripper, *([] if turns is None else [turns])]
        self._plans.append((self._done, np.column_stack(told)))
        self._plans = [(at, plan) for at, plan in self._plans if at + horizon > self._done]
        aligned = np.full((len(self._plans), *self._plans[-1][1].shape), np.nan)
        for row, (at, plan) in zip(aligned, self._plans, strict=True):
            row[: horizon - (self._done - at)] = plan[self._done - at :]
        known = np.isfinite(aligned).all(-1)
        weights = np.where(known, np.exp(-DECAY * (known.cumsum(0) - 1)), 0)
        mean = np.full((horizon, 4), np.nan)
        rotations = None if turns is None else turns.copy()
        for k in np.flatnonzero(known.any(0)):
            rows, weight = aligned[known[:, k], k], weights[known[:, k], k]
            mean[k] = np.average(rows[:, :4], axis=0, weights=weight)
            if rotations is not None:
                rotations[k] = mean_turn(rows[:, 4:], weight)
        gripper = np.where(known.any(0), mean[:, 3] > 0.5, chunk.gripper)
        return replace(
            chunk,
            positions=mean[:, :3],
            gripper=gripper.astype(chunk.gripper.dtype),
            rotations=rotations,
        )

    def advance(self, count: int) -> None:
        """`count` waypoints of the last plan were executed."""
        self._done += count


def mean_turn(turns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of rotations of the hand: least weighted sum of squared chordal distances (Markley
    et al., 2007, "Averaging quaternions").

    Half a turn about the hand's own axis swaps its fingers and is the same grasp: of the two, the
    one that is nearer to the last rotation counts.

    Args:
        turns: (N, 3) extrinsic xyz Euler angles [rad].
        weights: (N,) above 0.

    Returns:
        (3,) extrinsic xyz Euler angles [rad].
    """
    hands = Rotation.from_euler("xyz", turns)
    swapped = hands * Rotation.from_euler("z", np.pi)
    last = hands[-1].inv()
    far = (last * hands).magnitude() > (last * swapped).magnitude()
    nearer = np.where(far[:, None], swapped.as_quat(), hands.as_quat())
    return Rotation.from_quat(nearer).mean(weights).as_euler("xyz")
