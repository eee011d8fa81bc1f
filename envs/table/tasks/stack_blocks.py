"""Turned blocks: put the small one onto the large one, both anyhow turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.base import TASKS, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table import judging
from envs.table.blocks import add_box, add_free_body, quarter_turn, yaw_of
from envs.table.env import TableEnv
from envs.table.expert import SETTLE_STEPS, pick_and_place
from envs.table.task import TableTask

SMALL_HALF, LARGE_HALF = 0.020, 0.025
SMALL = TaskObject("small_block", 2**0.5 * SMALL_HALF, (0.90, 0.55, 0.10))
LARGE = TaskObject("large_block", 2**0.5 * LARGE_HALF, (0.16, 0.45, 0.33))

HOVER_HEIGHT, CARRY_HEIGHT = 0.12, 0.15
GRASP_HEIGHT = SMALL_HALF
RELEASE_HEIGHT = 2 * LARGE_HALF + SMALL_HALF + 0.003

MISS = Stage("MISS", "never lifted", "not lifted yet")
GRASP = Stage("GRASP", "lifted, not stacked", "lifted")
STACK = Stage("STACK", "stacked", "on the large block")
LIFTED = 0.03
"""The small block counts as lifted when its foot is this high above the table [m]."""
OFFSET = 0.015
"""Largest horizontal distance between the blocks' centres in a stack [m]."""


@dataclass
class StackBlocksConfig(TaskConfig):
    """configs/task/stack_blocks.yaml"""

    kind: str = "stack_blocks"


@TASKS.register("stack_blocks", StackBlocksConfig)
class StackBlocks(TableTask):
    """A 4 cm block onto a 5 cm block, each at any yaw; a quarter turn makes no difference."""

    title = "Stack blocks"
    description = "Put the small block onto the large one, however they are turned."
    instruction = "put the small block on the large block"
    turns = True
    settle_steps = SETTLE_STEPS
    objects = (SMALL, LARGE)
    stages = (MISS, GRASP, STACK)
    metrics = (Metric("place_error_m", "Final distance between the blocks", "m"),)
    spacing = 0.14
    yaws = {SMALL.name: np.pi / 4, LARGE.name: np.pi / 4}

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """See `TableTask`."""
        for item, half, mass in ((SMALL, SMALL_HALF, 0.06), (LARGE, LARGE_HALF, 0.15)):
            add_box(add_free_body(spec, item.name), (half,) * 3, (*item.colour, 1.0), mass)

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`: the block is turned like the other one on the way."""
        grasp, release = (objects[item.name][:2] for item in (SMALL, LARGE))
        yaws = quarter_turn(yaw_of(objects[SMALL.name])), quarter_turn(yaw_of(objects[LARGE.name]))
        return pick_and_place(
            np.array([*grasp, GRASP_HEIGHT]),
            np.array([*release, RELEASE_HEIGHT]),
            hover=HOVER_HEIGHT,
            carry=CARRY_HEIGHT,
            yaws=yaws,
        )

    def judge(self, env: TableEnv) -> StackJudge:
        """See `TableTask`."""
        return StackJudge(env, SMALL.name, LARGE.name, LIFTED)


class StackJudge(judging.PutJudge):
    """Stacked: the small block has rested on the large one alone."""

    def fits(self) -> bool:
        """Above the middle of the large block."""
        return judging.distance(self.env, self.moved, self.target) <= OFFSET
