"""The scripted expert as a policy: what the servo, the physics and the budget allow at best.

Not a baseline: it knows where things are. It tests the evaluation itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.base import Environment, Waypoint
from para.types import ActionChunk, Inference, Observation


class Oracle:
    """Predicts the expert's next waypoints, at most `spacing` apart, as a learned policy would.

    Args:
        envs: The environments that its observations come from.
        horizon: T, waypoints per plan.
        execute: How many of them are executed before the next plan.
        spacing: Largest distance between waypoints [m]: 0.3 s at 0.4 m/s.
    """

    def __init__(
        self,
        envs: Sequence[Environment],
        horizon: int = 12,
        execute: int = 4,
        spacing: float = 0.12,
    ):
        self._envs, self._horizon, self._execute, self._spacing = envs, horizon, execute, spacing
        self._paths: dict[int, list[Waypoint]] = {}

    def predict(
        self, observations: Sequence[Observation], inference: Inference | None = None
    ) -> list[ActionChunk]:
        """The next waypoints for each observation, in order."""
        return [self._plan(observation) for observation in observations]

    def _plan(self, observation: Observation) -> ActionChunk:
        # An observation holds its environment's own camera: that is how they are told apart.
        env = next(env for env in self._envs if env.camera is observation.camera)
        if env.steps == 0:
            self._paths[id(env)] = self._path(env)
        path = self._paths[id(env)]
        shown = (path + path[-1:] * self._horizon)[: self._horizon]
        self._paths[id(env)] = path[self._execute :] or path[-1:]
        return ActionChunk(
            np.array([waypoint.position for waypoint in shown]),
            np.array([waypoint.gripper for waypoint in shown]),
            np.array([waypoint.rotation for waypoint in shown]),
        )

    def _path(self, env: Environment) -> list[Waypoint]:
        path, position = [], env.ee_position
        for goal in env.task.waypoints(env.objects(), env.condition.named):
            way = goal.position - position
            pieces = max(1, int(np.ceil(np.linalg.norm(way) / self._spacing)))
            path += [
                goal._replace(position=position + way * k / pieces) for k in range(1, pieces + 1)
            ]
            position = goal.position
        return path
