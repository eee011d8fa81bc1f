"""Pictures of the scene for figures, with the cameras that took them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from envs.base import Condition, EnvConfig, Environment, load_task
from envs.table.viewpoints import viewpoint_camera
from envs.table.workspace import grid_positions
from para.camera import Camera
from para.runs.identity import Setting


@cache
def _env(name: str, robot: str) -> Environment:
    task = load_task(name)
    return task.environment(robot, task.layouts[0])


def start_at(setting: Setting, position: Sequence[float], **view: Any) -> Condition:
    """A start at a position (x, y) [m]; `view`: further fields of the condition.

    The objects stand around it, if one of the task's layouts moves them as a group; else the first
    of them stands at the grid's nearest position.
    """
    task = load_task(setting.task)
    for layout in task.layouts:
        if task.anchors(layout) == 1:
            return task.place([np.asarray(position)], layout, **view)
    nearest = np.linalg.norm(grid_positions() - position, axis=1).argmin()
    return task.grid(int(nearest), setting.layout, **view)


def render_condition(condition: Condition, camera: Camera, robot: str = "panda") -> np.ndarray:
    """The start of an episode seen by any camera, (height, width, 3) uint8, beauty preset."""
    env = _env(condition.task, robot)
    env.begin(condition)
    return env.picture(camera)


@cache
def view_picture(condition: Condition, robot: str = "panda", size: int = 320) -> np.ndarray:
    """The start of an episode from the condition's own viewpoint, (size, size, 3) uint8."""
    camera = viewpoint_camera(EnvConfig(), condition.theta_deg, condition.phi_deg, size)
    return render_condition(condition, camera, robot)


def top_camera(width: int = 960, height: int = 672, span: float = 0.86) -> Camera:
    """A camera far above the workspace: nearly orthographic, +y to the right, robot at the top.

    Args:
        width: Pixels.
        height: Pixels.
        span: Width of the table top that is seen [m].
    """
    distance = 6.0
    fovy = 2 * np.degrees(np.arctan(0.5 * span * height / width / distance))
    eye, target = np.array([0.0, 0.0, distance]), np.zeros(3)
    return Camera.look_at(eye, target, fovy, width, height, up=(-1, 0, 0))


@cache
def top_picture(condition: Condition, robot: str = "panda") -> tuple[np.ndarray, Camera]:
    """The start of an episode from above, and the camera that took it."""
    camera = top_camera()
    return render_condition(condition, camera, robot), camera
