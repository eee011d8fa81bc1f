"""What judges look at: contact, rest, and for how long."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from envs.table.scene import Place

if TYPE_CHECKING:
    from envs.table.env import TableEnv

REST_SPEED = 0.05
"""What rests moves no faster than this along any axis [m/s]."""
HOLD_STEPS = 10
"""Control steps for which a success must last."""


class PutJudge(ABC):
    """Put: an object rests upright on another, touches nothing else, let go, for HOLD_STEPS.

    Stages are the task's, in order: never lifted, lifted, put.

    Args:
        env: The environment.
        moved: Name of the object that is put somewhere.
        target: Name of the object that it is put onto.
        lifted: Height of the object's foot above the table from which on it counts as lifted [m].
    """

    def __init__(self, env: TableEnv, moved: str, target: str, lifted: float):
        self.env, self._least = env, lifted
        self.moved, self.target = env.world.objects[moved], env.world.objects[target]
        self._lifted = False
        self._steps = 0

    @property
    def stage(self) -> str:
        """How far the episode is."""
        missed, lifted, put = (stage.name for stage in self.env.task.stages)
        if self._steps >= HOLD_STEPS:
            return put
        return lifted if self._lifted else missed

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        return {"place_error_m": distance(self.env, self.moved, self.target)}

    def step(self) -> None:
        """See `Judge`."""
        self._lifted |= bool(self.env.data.xpos[self.moved.body, 2] > self._least)
        self._steps = self._steps + 1 if self._lifted and self._is_put() else 0

    @abstractmethod
    def fits(self) -> bool:
        """Does the object lie where, and as, the task asks?"""

    def _is_put(self) -> bool:
        if not self.fits() or not upright(self.env, self.moved):
            return False
        others = touching(self.env, self.moved)
        alone = len(others) and (others == self.target.body).all()
        return bool(alone and rests(self.env, self.moved))


def touching(env: TableEnv, place: Place) -> np.ndarray:
    """Indices of the bodies that touch an object now."""
    contact = env.data.contact
    bodies = env.world.model.geom_bodyid[contact.geom[contact.exclude == 0]]
    others = bodies[(bodies == place.body).any(axis=1)]
    return others[others != place.body]


def held(env: TableEnv, others: np.ndarray) -> bool:
    """Is the robot among the bodies that touch something?"""
    return bool(np.isin(others, env.world.robot_bodies).any())


def rests(env: TableEnv, place: Place) -> bool:
    """Does a free object move slower than REST_SPEED?"""
    speeds = env.data.qvel[place.qvel : place.qvel + 3]
    return bool(np.abs(speeds).max() <= REST_SPEED)


def upright(env: TableEnv, place: Place, degrees: float = 20.0) -> bool:
    """Is the object's vertical axis within `degrees` of the vertical?"""
    return bool(env.data.xmat[place.body, 8] >= np.cos(np.radians(degrees)))


def distance(env: TableEnv, a: Place, b: Place) -> float:
    """Horizontal distance between the feet of two objects [m]."""
    xpos = env.data.xpos
    return float(np.hypot(*(xpos[a.body, :2] - xpos[b.body, :2])))
