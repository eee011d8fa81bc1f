"""The scripted expert: takes the bowl by its rim from above and puts it on the plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from envs.base import Environment, Waypoint
from envs.libero.starts import BOWL, FIXTURES, PLATE, RADII, ROOM

RIM = np.array([0.0, 0.052, 0.040])
"""Tool centre relative to the bowl when its rim is between the fingers, which open along y [m]."""
HOVER, LIFT = 0.10, 0.12
"""Above the grasp before, and after it [m]."""
DROP = np.array([0.0, 0.0, 0.012])
"""How much higher than on the plate the bowl is let go [m]."""
FINGER = np.array([0.0, 0.085])
"""From the bowl's middle to the outer finger of the open hand [m]."""
HAND, CABINET = 0.11, 0.22
"""Half the width of the hand along y, and how high the cabinet is [m]."""
HELD = 0.10
"""How near to the tool centre the middle of a bowl is that is in the fingers [m]."""
TRIES = 3
"""How often the bowl is taken when it was not held, or was lost on the way."""
UP = np.array([0.0, 0.0, 1.0])


def path(objects: Mapping[str, np.ndarray]) -> list[Waypoint]:
    """The path to objects that stay where they are: name -> (7,) pose."""
    grasp = grasp_place(objects, grasp_side(objects))
    place = objects[PLATE][:3] + grasp - objects[BOWL][:3] + DROP
    return [
        Waypoint(grasp + HOVER * UP, 1.0),
        *_take(grasp),
        *_release(place, grasp[2] + LIFT),
    ]


def script(env: Environment) -> Iterator[Waypoint]:
    """The path of an episode that has begun: it looks again before it goes down and lets go.

    The bowl slips in the fingers, and one on the ramekin goes on tilting for a while. Where it was
    not held, or is lost on the way, it begins again.
    """
    for _ in range(TRIES):
        side = grasp_side(env.objects())
        yield Waypoint(grasp_place(env.objects(), side) + HOVER * UP, 1.0)
        grasp = grasp_place(env.objects(), side)
        yield from _take(grasp)
        high, plate, held = grasp[2] + LIFT, env.objects()[PLATE][:3], _in_hand(env)
        if np.linalg.norm(held) > HELD:
            continue
        yield Waypoint(np.array([*(plate + held)[:2], high]), 0.0)
        held = _in_hand(env)
        if np.linalg.norm(held) <= HELD:
            yield from _release(plate + held + DROP, high)
            break


def _in_hand(env: Environment) -> np.ndarray:
    """Tool centre relative to the bowl (3,) [m]."""
    return env.ee_position - env.objects()[BOWL][:3]


def grasp_side(objects: Mapping[str, np.ndarray]) -> float:
    """The side on which the rim is taken, 1 or -1 along y: where a finger and the hand have room.

    Args:
        objects: Name -> (7,) pose.
    """
    return 1.0 if _room(objects, 1.0) >= min(ROOM, _room(objects, -1.0)) else -1.0


def grasp_place(objects: Mapping[str, np.ndarray], side: float) -> np.ndarray:
    """Tool centre (3,) [m] when the rim of the bowl, which may be tilted, is in the fingers."""
    bowl = objects[BOWL]
    upright = Rotation.from_quat(bowl[3:], scalar_first=True).apply(UP)
    axis = np.cross(UP, upright)
    sine = float(np.linalg.norm(axis))
    tilt = Rotation.from_rotvec(axis * (np.arcsin(min(sine, 1.0)) / sine if sine > 1e-6 else 0.0))
    return bowl[:3] + tilt.apply(RIM * (1, side, 1))


def _room(objects: Mapping[str, np.ndarray], side: float) -> float:
    """Between the outer finger and what stands next to it [m]; less than 0 where nothing fits."""
    bowl = objects[BOWL][:3]
    finger = bowl[:2] + side * FINGER
    _, (left, _, right, front) = FIXTURES
    hand = bowl[1] + side * RIM[1] - HAND
    if bowl[2] + RIM[2] < CABINET - HOVER and left < bowl[0] < right and hand < front:
        return -1.0
    others = (
        float(np.hypot(*(pose[:2] - finger))) - RADII[name]
        for name, pose in objects.items()
        if name != BOWL and abs(pose[2] - bowl[2]) < 0.04
    )
    return min(others, default=1.0)


def _take(grasp: np.ndarray) -> list[Waypoint]:
    return [Waypoint(grasp, 1.0), Waypoint(grasp, 0.0), Waypoint(grasp + LIFT * UP, 0.0)]


def _release(place: np.ndarray, height: float) -> list[Waypoint]:
    over = np.array([*place[:2], height])
    return [Waypoint(over, 0.0), Waypoint(place, 0.0), Waypoint(place, 1.0), Waypoint(over, 1.0)]
