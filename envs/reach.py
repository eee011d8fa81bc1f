"""Can the arm reach all of the workspace? The check that chose where its base stands."""

from __future__ import annotations

import numpy as np

from envs import robots
from envs import workspace as ws
from envs.controller import ArmController


def task_points(per_side: int = 2) -> np.ndarray:
    """Tool positions (N, 3) [m] that the task visits, for a grid of pairs over the workspace.

    For each of the `per_side`^2 pair positions: above, at and carrying from the grasp, and the same
    at the plate. Two per side are the corners, which are the hardest.
    """
    x = np.linspace(-ws.X_HALF, ws.X_HALF, per_side)
    y = np.linspace(-ws.Y_HALF, ws.Y_HALF, per_side)
    pairs = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    grasps = pairs + ws.BOWL_OFFSET + ws.GRASP_OFFSET
    releases = pairs + ws.PLATE_OFFSET + ws.RELEASE_OFFSET
    places = [
        *((grasps, z) for z in (ws.HOVER_HEIGHT, ws.GRASP_HEIGHT, ws.CARRY_HEIGHT)),
        *((releases, z) for z in (ws.CARRY_HEIGHT, ws.RELEASE_HEIGHT)),
    ]
    return np.concatenate([np.column_stack([xy, np.full(len(xy), z)]) for xy, z in places])


def reach_errors(points: np.ndarray, base: np.ndarray = robots.BASE) -> np.ndarray:
    """How far the Panda stays from tool positions, hand pointing down.

    Args:
        points: (N, 3) tool positions, world frame [m].
        base: (3,) position of the arm's base, world frame [m].

    Returns:
        (N, 3): distance [m], angle [rad], and the smallest distance of a joint to its limits [rad].
    """
    model = robots.arm_model(base)
    arm = ArmController(model)
    errors = np.empty((len(points), 3))
    for i, point in enumerate(points):
        q = arm.solve(point, robots.HOME, iterations=120)
        margin = np.minimum(q - model.jnt_range[:, 0], model.jnt_range[:, 1] - q).min()
        errors[i] = (*arm.error(point), margin)
    return errors
