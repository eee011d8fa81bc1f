"""The scripted expert: it knows where things are, and moves like a careful person."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.base import Environment, Waypoint

FRAME_STEPS = 5
"""Control steps between two frames of a demonstration: 10 Hz."""
SETTLE_STEPS = 30
"""`Task.settle_steps` where things are put down to the millimetre: 0.6 s, two waypoints of a
policy. Without them one that is a tenth of a second off lets go on the way down or up."""
DWELL_STEPS = 25
"""Control steps for which the hand rests while the fingers move: 0.5 s, so that a policy that
predicts one waypoint every 0.3 s always has at least one of them inside."""

ARRIVED_M, ARRIVED_RAD = 0.004, 0.02
"""How near the target must be to a waypoint before the next one counts [m, rad]."""


def pick_and_place(
    grasp: np.ndarray,
    release: np.ndarray,
    *,
    hover: float,
    carry: float,
    yaws: tuple[float, float] = (0.0, 0.0),
) -> list[Waypoint]:
    """Down, close, up, across, down, open, up.

    Args:
        grasp: Where the fingers close (x, y, z) [m].
        release: Where they open (x, y, z) [m].
        hover: Height from which the hand goes down at first [m].
        carry: Height across [m].
        yaws: Of the hand at `grasp` and at `release` [rad].
    """
    first, then = yaws
    path = (
        ((*grasp[:2], hover), 1.0, first),
        (grasp, 1.0, first),
        (grasp, 0.0, first),
        ((*grasp[:2], carry), 0.0, first),
        ((*release[:2], carry), 0.0, then),
        (release, 0.0, then),
        (release, 1.0, then),
        ((*release[:2], carry), 1.0, then),
    )
    return [Waypoint(np.array(place), gripper, yaw) for place, gripper, yaw in path]


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

    def step(goal: Waypoint) -> None:
        env.control_step(goal.position, goal.gripper, goal.rotation)
        if on_step:
            on_step(env)
        if on_frame and env.steps % FRAME_STEPS == 0:
            on_frame(env)

    if on_frame:
        on_frame(env)
    for goal in env.task.script(env):
        if env.steps >= env.config.max_steps:
            break
        if goal.gripper != env.gripper_command:
            for _ in range(env.task.settle_steps):
                step(goal._replace(gripper=env.gripper_command))
            for _ in range(DWELL_STEPS):
                step(goal)
        elif _arrived(env, goal):
            step(goal)  # one that watches gets to see something new
        while not _arrived(env, goal) and env.steps < env.config.max_steps:
            step(goal)
    return env.outcome.success


def _arrived(env: Environment, goal: Waypoint) -> bool:
    near = np.linalg.norm(env.target - goal.position) <= ARRIVED_M
    # A gripper that is turned by half a turn is the same gripper.
    turn = (env.target_rotation[2] - goal.yaw + np.pi / 2) % np.pi - np.pi / 2
    return bool(near and abs(turn) <= ARRIVED_RAD)
