"""The scripted expert: it knows where things are, and moves like a careful person."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.base import Environment

FRAME_STEPS = 5
"""Control steps between two frames of a demonstration: 10 Hz."""
DWELL_STEPS = 25
"""Control steps for which the hand rests while the fingers move: 0.5 s, so that a policy that
predicts one waypoint every 0.3 s always has at least one of them inside."""


def run_expert(
    env: Environment,
    on_frame: Callable[[Environment], None] | None = None,
    on_step: Callable[[Environment], None] | None = None,
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
    for goal, gripper in env.task.waypoints(env.objects()):
        if gripper != env.gripper_command:
            for _ in range(DWELL_STEPS):
                step(goal, gripper)
        while np.linalg.norm(env.target - goal) > 0.004 and env.steps < env.config.max_steps:
            step(goal, gripper)
    return env.outcome.success
