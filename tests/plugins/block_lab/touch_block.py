"""A task: bring the open hand above a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.base import TASKS, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table.env import TableEnv
from envs.table.robots import OBJECT_BITS, VISUAL
from envs.table.task import TableTask
from para.fields import number

HALF = 0.02


@dataclass
class TouchBlockConfig(TaskConfig):
    """configs/task/touch_block.yaml"""

    kind: str = "touch_block"
    height: float = number(0.1, above=0, below=0.3)
    """Of the tool above the table where the task is done [m]."""


@TASKS.register("touch_block", TouchBlockConfig)
class TouchBlock(TableTask):
    """Done when the tool is within 3 cm of a point above the block."""

    title = "Above the block"
    description = "Bring the hand above the block."
    instruction = "go above the block"
    objects = (TaskObject("block", 0.03, (0.2, 0.6, 0.2)),)
    stages = (Stage("AWAY", "never above it", "on its way"), Stage("ABOVE", "above it", "there"))
    metrics = (Metric("place_error_m", "Distance from hand to block", "m"),)
    layouts = ("together", "independent")
    offsets = {"block": (0.0, 0.0)}
    spacing = 0.1

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """See `TableTask`."""
        body = spec.worldbody.add_body(name="block")
        body.add_freejoint(name="block")
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=(HALF, HALF, HALF), pos=(0, 0, HALF),
            rgba=(0.2, 0.6, 0.2, 1), density=400, group=VISUAL, **OBJECT_BITS,
        )  # fmt: skip

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`."""
        return [Waypoint(np.array([*objects["block"][:2], self.cfg.height]), 1.0)]

    def judge(self, env: TableEnv) -> AboveJudge:
        """See `TableTask`."""
        return AboveJudge(env, self.cfg.height)


class AboveJudge:
    """Measures how far the tool is from where it should be."""

    def __init__(self, env: TableEnv, height: float):
        self._env, self._height = env, height
        self.stage = "AWAY"

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        goal = self._env.objects()["block"][:3] + np.array([0, 0, self._height])
        return {"place_error_m": float(np.linalg.norm(self._env.ee_position - goal))}

    def step(self) -> None:
        """See `Judge`."""
        if self.metrics()["place_error_m"] < 0.03:
            self.stage = "ABOVE"
