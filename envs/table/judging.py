"""What judges look at: contact, rest, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from envs.table.scene import Place

if TYPE_CHECKING:
    from envs.table.env import TableEnv

REST_SPEED = 0.05
"""What rests moves no faster than this along any axis [m/s]."""
HOLD_STEPS = 10
"""Control steps for which a success must last."""


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
