"""Can the arm reach all of the workspace? The check that chose where its base stands."""

from __future__ import annotations

import numpy as np

from envs.table import robots
from envs.table import workspace as ws
from envs.table.controller import ArmController
from envs.table.task import TableTask


def task_points(task: TableTask, per_side: int = 2) -> np.ndarray:
    """Tool positions (N, 3) [m] that the expert visits from a grid of starts, layout=together.

    Ordered by place on the path, then by start. Two starts per side are the corners of the
    workspace, which are the hardest.
    """
    x = np.linspace(-ws.X_HALF, ws.X_HALF, per_side)
    y = np.linspace(-ws.Y_HALF, ws.Y_HALF, per_side)
    paths = []
    for centre in np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2):
        waypoints = task.waypoints(task.place([centre], "together").poses())
        paths.append(list(dict.fromkeys(tuple(waypoint.position) for waypoint in waypoints)))
    return np.array(paths).swapaxes(0, 1).reshape(-1, 3)


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
