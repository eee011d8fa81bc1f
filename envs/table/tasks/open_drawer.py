"""Articulation: grasp the handle of a small cabinet's drawer and pull it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.base import TASKS, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table import judging
from envs.table.blocks import add_box, add_free_body, yaw_of
from envs.table.env import TableEnv
from envs.table.expert import SETTLE_STEPS
from envs.table.task import TableTask

# The cabinet's frame: the drawer opens along -y, so that the hand, whose fingers open along y, is
# turned as the cabinet is. While it is shut, front and handle stand at y = FRONT: the hand works
# on either side of the origin, which can be anywhere on the workspace.
FRONT = 0.025
HALF_WIDTH, DEPTH, HEIGHT = 0.055, 0.112, 0.046
"""Of the cabinet behind the drawer's front [m]."""
BOARD, PANEL = 0.004, 0.010
"""Thickness of its boards, and of the drawer's front [m]."""
BACK = FRONT + PANEL / 2 + DEPTH
HANDLE_HEIGHT, HANDLE_HALF, POST_HALF = 0.070, (0.034, 0.005, 0.005), 0.004
"""The handle stands on the front, so that fingers close around it above the lid: height of its
middle [m], its half sizes and those of its posts' sections [m]."""
TRAVEL = 0.100
"""How far the drawer can be pulled [m]."""
FRICTION, DAMPING = 1.5, 5.0
"""Of the drawer on its rails [N, N s/m]. The cabinet weighs 1.2 kg, and stands loose."""
CABINET = TaskObject("cabinet", float(np.hypot(HALF_WIDTH, BACK)), (0.22, 0.42, 0.48))
DRAWER_RGBA, HANDLE_RGBA = (0.90, 0.84, 0.70, 1.0), (0.84, 0.33, 0.10, 1.0)

HOVER_HEIGHT = 0.15
PULL = 0.105
"""How far the expert pulls [m]: until the drawer stops, as one that looks from afar must."""

SHUT = Stage("SHUT", "never moved", "shut")
AJAR = Stage("AJAR", "moved, not open", "ajar")
OPEN = Stage("OPEN", "open", "open")
MOVED = 0.01
"""The drawer has moved when it has been this far open [m]."""
WIDE = 0.08
"""It is open from here on [m]."""


@dataclass
class OpenDrawerConfig(TaskConfig):
    """configs/task/open_drawer.yaml"""

    kind: str = "open_drawer"


@TASKS.register("open_drawer", OpenDrawerConfig)
class OpenDrawer(TableTask):
    """A drawer on rails with friction; only its weight holds the cabinet against the pull."""

    title = "Open drawer"
    description = "Pull the drawer of a small cabinet open by its handle."
    instruction = "open the drawer"
    turns = True
    settle_steps = SETTLE_STEPS
    objects = (CABINET,)
    stages = (SHUT, AJAR, OPEN)
    metrics = (
        Metric("place_error_m", "What the drawer misses of 8 cm", "m"),
        Metric("opening_m", "Final opening of the drawer", "m"),
    )
    yaws = {CABINET.name: np.pi / 6}

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """See `TableTask`."""
        cabinet = add_free_body(spec, CABINET.name)
        _add_crate(cabinet, HALF_WIDTH, BACK - DEPTH, BACK, HEIGHT, 0.0, (*CABINET.colour, 1), 0.9)
        middle, lid = BACK - DEPTH / 2, HEIGHT - BOARD
        half = (HALF_WIDTH, DEPTH / 2, BOARD / 2)
        add_box(cabinet, half, (*CABINET.colour, 1), 0.3, (0, middle), lid)
        # Bodies on rails do not meet what carries them; everything else meets both.
        drawer = cabinet.add_body(name="drawer")
        drawer.add_joint(
            name="drawer", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, -1, 0), range=(0, TRAVEL),
            limited=True, damping=DAMPING, frictionloss=FRICTION,
        )  # fmt: skip
        room = 1.5 * BOARD
        _add_crate(
            drawer, HALF_WIDTH - room, FRONT, BACK - room, lid - room, room, DRAWER_RGBA, 0.12
        )
        panel = (HALF_WIDTH, PANEL / 2, lid / 2)  # it ends above the table
        add_box(drawer, panel, DRAWER_RGBA, 0.05, (0, FRONT), BOARD)
        under = HANDLE_HEIGHT - HANDLE_HALF[2]
        for side in (-1, 1):
            post = (POST_HALF, POST_HALF, (under - HEIGHT) / 2)
            place = (side * (HANDLE_HALF[0] - POST_HALF), FRONT)
            add_box(drawer, post, HANDLE_RGBA, 0.005, place, HEIGHT)
        add_box(drawer, HANDLE_HALF, HANDLE_RGBA, 0.02, (0, FRONT), under)

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`: down over the handle, close, pull, open, up."""
        pose = objects[CABINET.name]
        yaw = yaw_of(pose)
        pull = np.array([np.sin(yaw), -np.cos(yaw)])
        shut, drawn = (pose[:2] + pull * (y - FRONT) for y in (0, PULL))
        path = (
            (shut, HOVER_HEIGHT, 1.0),
            (shut, HANDLE_HEIGHT, 1.0),
            (shut, HANDLE_HEIGHT, 0.0),
            (drawn, HANDLE_HEIGHT, 0.0),
            (drawn, HANDLE_HEIGHT, 1.0),
            (drawn, HOVER_HEIGHT, 1.0),
        )
        return [Waypoint(np.array([*xy, z]), gripper, yaw) for xy, z, gripper in path]

    def judge(self, env: TableEnv) -> DrawerJudge:
        """See `TableTask`."""
        return DrawerJudge(env)


def _add_crate(
    body: mujoco.MjsBody,
    half_width: float,
    front: float,
    back: float,
    height: float,
    foot: float,
    rgba: tuple[float, ...],
    mass: float,
) -> None:
    """Floor, sides and back of a crate that is open above and in front.

    Args:
        body: Gets the four boards.
        half_width: Half the extent along x [m].
        front: Where it begins in y [m].
        back: Where it ends in y [m].
        height: Upper edge of its sides [m].
        foot: Lower side of its floor [m].
        rgba: Its colour.
        mass: Of the whole [kg].
    """
    middle, half_depth = (front + back) / 2, (back - front) / 2
    wall, part = (height - foot - BOARD) / 2, mass / 4
    add_box(body, (half_width, half_depth, BOARD / 2), rgba, part, (0, middle), foot)
    for side in (-1, 1):
        place = (side * (half_width - BOARD / 2), middle)
        add_box(body, (BOARD / 2, half_depth, wall), rgba, part, place, foot + BOARD)
    across = (half_width - BOARD, BOARD / 2, wall)
    add_box(body, across, rgba, part, (0, back - BOARD / 2), foot + BOARD)


class DrawerJudge:
    """Open: for HOLD_STEPS the drawer has been out far enough and at rest, in the hand or not."""

    def __init__(self, env: TableEnv):
        self._env = env
        self._cabinet = env.world.objects[CABINET.name]
        joint = env.world.model.joint("drawer")
        self._qpos, self._qvel = int(joint.qposadr[0]), int(joint.dofadr[0])
        self._moved = False
        self._steps = 0

    @property
    def stage(self) -> str:
        """SHUT, AJAR or OPEN."""
        if self._steps >= judging.HOLD_STEPS:
            return OPEN.name
        return AJAR.name if self._moved else SHUT.name

    @property
    def opening(self) -> float:
        """How far the drawer is out of the cabinet [m]."""
        return float(self._env.data.qpos[self._qpos])

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        return {"place_error_m": max(0.0, WIDE - self.opening), "opening_m": self.opening}

    def step(self) -> None:
        """See `Judge`."""
        self._moved |= self.opening > MOVED
        self._steps = self._steps + 1 if self._is_open() else 0

    def _is_open(self) -> bool:
        still = abs(self._env.data.qvel[self._qvel]) <= judging.REST_SPEED
        stands = judging.upright(self._env, self._cabinet)
        return bool(self.opening >= WIDE and still and stands)
