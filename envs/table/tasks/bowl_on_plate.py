"""The benchmark's first task: pick the bowl up by its rim and put it on the plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.base import TASKS, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table.dishes import BOWLS, PLATES, SHAPES, USUAL, add_dish
from envs.table.env import TableEnv
from envs.table.expert import pick_and_place
from envs.table.task import TableTask

BOWL = TaskObject("bowl", 0.056, (0.80, 0.13, 0.11))
PLATE = TaskObject("plate", 0.085, (0.11, 0.36, 0.62))
GRASP_OFFSET = np.array([0.0, -0.047])
"""Tool centre relative to the bowl when it is held by its rim; fingers open along y."""
RELEASE_OFFSET = np.array([0.0, -0.037])
"""Tool centre relative to the plate when the bowl is let go: the bowl hangs tilted by its rim and
swings back by a centimetre as it lands."""
GRASP_HEIGHT = 0.020
HOVER_HEIGHT = 0.12
CARRY_HEIGHT = 0.15
RELEASE_HEIGHT = 0.036

MISS = Stage("MISS", "never lifted", "not lifted yet")
GRASP = Stage("GRASP", "lifted, not placed", "lifted")
PLACE = Stage("PLACE", "placed", "placed on the plate")
LIFTED = 0.03
"""The bowl counts as lifted when its foot is this high above the table [m]."""
PLACE_RADIUS = 0.045
"""The bowl counts as placed when its centre is this close to the plate's, horizontally [m]."""
UPRIGHT = np.cos(np.radians(20))
REST_SPEED = 0.05
"""... and it moves no faster than this along any axis [m/s]."""
HOLD_STEPS = 10
"""Control steps for which the bowl must stay placed."""


@dataclass
class BowlOnPlateConfig(TaskConfig):
    """configs/task/bowl_on_plate.yaml"""

    kind: str = "bowl_on_plate"


@TASKS.register("bowl_on_plate", BowlOnPlateConfig)
class BowlOnPlate(TableTask):
    """Bowl to plate, through contact and friction only."""

    title = "Bowl on plate"
    description = "Pick the bowl up by its rim and put it on the plate."
    instruction = "put the bowl on the plate"
    objects = (BOWL, PLATE)
    stages = (MISS, GRASP, PLACE)
    metrics = (Metric("place_error_m", "Final distance from bowl to plate", "m"),)
    layouts = ("together", "independent")
    offsets = {"bowl": (0.0, 0.09), "plate": (0.0, -0.09)}
    spacing = 0.18

    shapes = SHAPES

    def add_objects(self, spec: mujoco.MjSpec, bowl: str = USUAL, plate: str = USUAL) -> None:
        """See `TableTask`."""
        add_dish(spec, BOWL.name, BOWLS[bowl], (*BOWL.colour, 1.0))
        add_dish(spec, PLATE.name, PLATES[plate], (*PLATE.colour, 1.0))

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`."""
        return serve(objects[BOWL.name], objects[PLATE.name])

    def judge(self, env: TableEnv) -> PlacingJudge:
        """See `TableTask`."""
        return PlacingJudge(env, BOWL.name, PLATE.name)


def serve(bowl: np.ndarray, plate: np.ndarray) -> list[Waypoint]:
    """The expert's path: takes the bowl by its rim, lets it go on the plate.

    Args:
        bowl, plate: (7,) poses.
    """
    return pick_and_place(
        np.array([*(bowl[:2] + GRASP_OFFSET), GRASP_HEIGHT]),
        np.array([*(plate[:2] + RELEASE_OFFSET), RELEASE_HEIGHT]),
        hover=HOVER_HEIGHT,
        carry=CARRY_HEIGHT,
    )


class PlacingJudge:
    """Placed: the bowl has rested on the plate, released and upright, for HOLD_STEPS steps."""

    def __init__(self, env: TableEnv, bowl: str, plate: str):
        self._world, self._data = env.world, env.data
        self._bowl, self._plate = env.world.objects[bowl], env.world.objects[plate]
        self._lifted = False
        self._placed_steps = 0

    @property
    def stage(self) -> str:
        """MISS (never lifted), GRASP (lifted, not placed) or PLACE."""
        if self._placed_steps >= HOLD_STEPS:
            return PLACE.name
        return GRASP.name if self._lifted else MISS.name

    @property
    def place_error(self) -> float:
        """Horizontal distance between the centres of bowl and plate [m]."""
        xpos = self._data.xpos
        return float(np.hypot(*(xpos[self._bowl.body, :2] - xpos[self._plate.body, :2])))

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        return {"place_error_m": self.place_error}

    def step(self) -> None:
        """See `Judge`."""
        if self._data.xpos[self._bowl.body, 2] > LIFTED:
            self._lifted = True
            self._placed_steps = 0
        elif self._lifted:
            self._placed_steps = self._placed_steps + 1 if self._is_placed() else 0

    def _is_placed(self) -> bool:
        data, bowl = self._data, self._bowl
        if self.place_error > PLACE_RADIUS or data.xmat[bowl.body, 8] < UPRIGHT:
            return False
        if np.abs(data.qvel[bowl.qvel : bowl.qvel + 3]).max() > REST_SPEED:
            return False
        touching = data.contact.geom[data.contact.exclude == 0]
        bodies = self._world.model.geom_bodyid[touching]
        others = bodies[(bodies == bowl.body).any(axis=1)]
        others = others[others != bowl.body]
        held = np.isin(others, self._world.robot_bodies).any()
        return bool((others == self._plate.body).any() and not held)
