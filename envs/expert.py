"""The scripted expert: it knows where bowl and plate are, and moves like a careful person."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from envs import workspace as ws
from envs.pick_place import PickPlaceEnv

FRAME_STEPS = 5
"""Control steps between two frames of a demonstration: 10 Hz."""
DWELL_STEPS = 25
"""Control steps for which the hand rests while the fingers move: 0.5 s, so that a policy that
predicts one waypoint every 0.3 s always has at least one of them inside."""


def expert_waypoints(env: PickPlaceEnv) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (tool position (3,) [m], gripper opening), corner by corner of the path.

    The gripper opening belongs to the time at that corner: the hand rests there while it changes.
    """
    grasp = env.bowl_pose[:2] + ws.GRASP_OFFSET
    release = env.plate_pose[:2] + ws.RELEASE_OFFSET

    def at(xy: np.ndarray, z: float) -> np.ndarray:
        return np.array([*xy, z])

    yield at(grasp, ws.HOVER_HEIGHT), 1.0
    yield at(grasp, ws.GRASP_HEIGHT), 1.0
    yield at(grasp, ws.GRASP_HEIGHT), 0.0
    yield at(grasp, ws.CARRY_HEIGHT), 0.0
    yield at(release, ws.CARRY_HEIGHT), 0.0
    yield at(release, ws.RELEASE_HEIGHT), 0.0
    yield at(release, ws.RELEASE_HEIGHT), 1.0
    yield at(release, ws.CARRY_HEIGHT), 1.0


def run_expert(
    env: PickPlaceEnv,
    on_frame: Callable[[PickPlaceEnv], None] | None = None,
    on_step: Callable[[PickPlaceEnv], None] | None = None,
) -> bool:
    """Run one demonstration on an episode that has begun; return whether it succeeded.

    Args:
        env: An environment after `begin` or `reset`.
        on_frame: Called 10 times a second of simulated time, and at the very start.
        on_step: Called after every control step.
    """

    def step(goal: np.ndarray, gripper: float) -> None:
        env.control_step(goal, gripper)
        if on_step:
            on_step(env)
        if on_frame and env.steps % FRAME_STEPS == 0:
            on_frame(env)

    if on_frame:
        on_frame(env)
    for goal, gripper in expert_waypoints(env):
        if gripper != env.gripper_command:
            for _ in range(DWELL_STEPS):
                step(goal, gripper)
        while np.linalg.norm(env.target - goal) > 0.004 and env.steps < env.config.max_steps:
            step(goal, gripper)
    return env.success
