"""Turning while carrying: put a long block into the slot of a tray, both anyhow turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.base import TASKS, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table import judging
from envs.table.blocks import add_box, add_free_body, half_turn, yaw_of
from envs.table.env import TableEnv
from envs.table.expert import SETTLE_STEPS, pick_and_place
from envs.table.task import TableTask

BLOCK_HALF = (0.032, 0.016, 0.018)
SLOT_HALF = (0.038, 0.022)
WALL, FLOOR, RIM = 0.010, 0.004, 0.014
"""Thickness of the tray's walls and floor, height of its rim above the table [m]."""
BLOCK = TaskObject("block", float(np.hypot(*BLOCK_HALF[:2])), (0.90, 0.75, 0.12))
TRAY = TaskObject(
    "tray", float(np.hypot(SLOT_HALF[0] + WALL, SLOT_HALF[1] + WALL)), (0.42, 0.24, 0.50)
)
FLOOR_RGBA = (0.26, 0.15, 0.31, 1.0)

HOVER_HEIGHT, CARRY_HEIGHT = 0.12, 0.13
GRASP_HEIGHT = 0.024
"""The fingers hold the upper part of the block and stay above the rim."""
RELEASE_HEIGHT = FLOOR + GRASP_HEIGHT + 0.003

MISS = Stage("MISS", "never lifted", "not lifted yet")
GRASP = Stage("GRASP", "lifted, not in the tray", "lifted")
INSIDE = Stage("INSIDE", "in the tray", "in the tray")
LIFTED = 0.03
"""The block counts as lifted when its foot is this high above the table [m]."""
SUNK = 0.003
"""It lies in the slot when its foot is this close to the tray's floor [m] ..."""
ANGLE = np.radians(10)
"""... and it is turned like the slot, to this angle [rad]."""


@dataclass
class BlockInTrayConfig(TaskConfig):
    """configs/task/block_in_tray.yaml"""

    kind: str = "block_in_tray"


@TASKS.register("block_in_tray", BlockInTrayConfig)
class BlockInTray(TableTask):
    """The block is twice as long as it is wide; half a turn makes no difference."""

    title = "Block in tray"
    description = "Put the block into the slot of the tray, turned as the slot is."
    instruction = "put the block into the tray"
    turns = True
    settle_steps = SETTLE_STEPS
    objects = (BLOCK, TRAY)
    stages = (MISS, GRASP, INSIDE)
    metrics = (
        Metric("place_error_m", "Final distance from block to slot", "m"),
        Metric("angle_error_rad", "Final angle between block and slot", "rad"),
    )
    spacing = 0.17
    yaws = {BLOCK.name: np.pi / 2, TRAY.name: np.pi / 2}

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """See `TableTask`."""
        add_box(add_free_body(spec, BLOCK.name), BLOCK_HALF, (*BLOCK.colour, 1.0), 0.08)
        tray = add_free_body(spec, TRAY.name)
        long, wide = SLOT_HALF
        rim = (*TRAY.colour, 1.0)
        add_box(tray, (long, wide, FLOOR / 2), FLOOR_RGBA, 0.30)
        for side in (-1, 1):
            add_box(tray, (WALL / 2, wide + WALL, RIM / 2), rim, 0.1, (side * (long + WALL / 2), 0))
            add_box(tray, (long, WALL / 2, RIM / 2), rim, 0.1, (0, side * (wide + WALL / 2)))

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`: the fingers close on the long sides; the hand turns on the way."""
        grasp, release = (objects[item.name][:2] for item in (BLOCK, TRAY))
        yaws = half_turn(yaw_of(objects[BLOCK.name])), half_turn(yaw_of(objects[TRAY.name]))
        return pick_and_place(
            np.array([*grasp, GRASP_HEIGHT]),
            np.array([*release, RELEASE_HEIGHT]),
            hover=HOVER_HEIGHT,
            carry=CARRY_HEIGHT,
            yaws=yaws,
        )

    def judge(self, env: TableEnv) -> TrayJudge:
        """See `TableTask`."""
        return TrayJudge(env, BLOCK.name, TRAY.name, LIFTED)


class TrayJudge(judging.PutJudge):
    """Inside: the block has rested on the slot's floor, turned like it."""

    @property
    def angle_error(self) -> float:
        """Between the long sides of block and slot, in [0, pi/2] [rad]."""
        poses = self.env.objects()
        return abs(half_turn(yaw_of(poses[BLOCK.name]) - yaw_of(poses[TRAY.name])))

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        return super().metrics() | {"angle_error_rad": self.angle_error}

    def fits(self) -> bool:
        """On the floor of the slot, and turned as it is."""
        if judging.distance(self.env, self.moved, self.target) > SLOT_HALF[1]:
            return False
        xpos = self.env.data.xpos
        height = xpos[self.moved.body, 2] - xpos[self.target.body, 2] - FLOOR
        return bool(height <= SUNK and self.angle_error <= ANGLE)
