"""How episodes of LIBERO-spatial may start: official ones, others like them, and varied ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.base import TRIES, Condition
from envs.libero.env import place_of
from envs.libero.scenes import Scene, load_scene
from para.errors import ConfigError

BOWL, PLATE = "akita_black_bowl_1", "plate_1"
"""What is carried, and where to. The other bowl looks like it: only its place tells them apart."""
RADII = {
    BOWL: 0.054,
    "akita_black_bowl_2": 0.054,
    "cookies_1": 0.050,
    "glazed_rim_porcelain_ramekin_1": 0.045,
    PLATE: 0.069,
}
"""Movable objects of the suite's scenes, and the circle around each one's footprint [m]."""
TOLD_APART = "akita_black_bowl_2"
"""Stays where the official starts have it, or an instruction could not say which bowl is meant."""
WORKSPACE = np.array([-0.22, -0.06]), np.array([0.06, 0.30])
"""Corners of what varied starts use [m]: between stove and cabinet, in reach of the arm."""
AROUND = np.array([-0.22, -0.06]), np.array([0.22, 0.33])
"""Corners of where what is not handled may stand in them [m]."""
FIXTURES = ((-0.47, -0.24, -0.17, -0.05), (-0.15, -0.44, 0.18, -0.145))
"""Stove and cabinet: x and y of two corners [m]."""
DRAWER = (0.0, -0.145, 0.23, -0.015)
"""The open drawer of the scenes that have one."""
GAP = 0.015
"""Between the circles of two objects [m]."""
ROOM = 0.03
"""Between those of the bowl that is picked up and of another object [m]: for a finger."""
TRAINED = 45
"""Official starts from 0 on that demos use; the other five are for tests."""


def official(task: str, suite: str, problem: str, index: int, **view: Any) -> Condition:
    """Initial state `index` of a scene, exactly; `view`: further fields of the condition."""
    scene = load_scene(suite, problem)
    if not 0 <= index < len(scene.states):
        raise ConfigError(
            f"{suite} has {len(scene.states)} initial states of {problem}, so there is no number "
            f"{index}."
        )
    objects = {name: place_of(scene.at(name, index)) for name in scene.objects}
    return Condition(task, objects, origin=f"{suite}/{index}", **view)


def alike(
    task: str, suite: str, problem: str, rng: np.random.Generator, on: str = "", **view: Any
) -> Condition:
    """A start like the official ones: each object uniform over the range that they span.

    Args:
        task, suite, problem: Of the scene.
        rng: Decides it; also from which official start the pose of the arm comes.
        on: Object on which the bowl stands: they keep their official places to each other.
        view: Further fields of the condition.
    """
    scene = load_scene(suite, problem)
    start = official(task, suite, problem, int(rng.integers(TRAINED)), **view)
    places = dict(start.objects)
    for name in scene.objects:
        low, high = spans(scene, name)
        x, y = rng.uniform(low, high)
        if name == on:
            dx, dy = x - places[name][0], y - places[name][1]
            places[BOWL] = (places[BOWL][0] + dx, places[BOWL][1] + dy, places[BOWL][2])
        if not (name == BOWL and on):
            places[name] = (x, y, places[name][2])
    return Condition(task, places, origin=start.origin, **view)


def spans(scene: Scene, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest (x, y) [m] of an object in a scene's official starts."""
    places = scene.states[:, scene.address(name)][:, :2]
    return places.min(axis=0), places.max(axis=0)


def apart(places: Mapping[str, Sequence[float]], drawer: bool = False) -> bool:
    """Do objects at (x, y, ...) [m] stand free of each other and of the furniture?"""
    return all(free(name, at, places, drawer) for name, at in places.items())


def free(
    name: str,
    at: Sequence[float],
    others: Mapping[str, Sequence[float]],
    drawer: bool = False,
) -> bool:
    """Does an object at (x, y, ...) [m] stand free of `others` and of the furniture?

    Args:
        name: Of the object.
        at: Where it stands.
        others: Name -> where another one stands; its own name is left out.
        drawer: The scene has an open drawer.
    """
    for other, to in others.items():
        gap = ROOM if BOWL in (name, other) else GAP
        least = RADII[name] + RADII[other] + gap
        if other != name and np.hypot(at[0] - to[0], at[1] - to[1]) < least:
            return False
    r = RADII[name] + GAP
    return not any(
        x0 - r < at[0] < x1 + r and y0 - r < at[1] < y1 + r
        for x0, y0, x1, y1 in ((*FIXTURES, DRAWER) if drawer else FIXTURES)
    )


def scattered(
    places: Mapping[str, Sequence[float]],
    names: Sequence[str],
    rng: np.random.Generator,
    drawer: bool = False,
) -> dict[str, tuple[float, float]]:
    """Draw (x, y) [m] in AROUND for each of `names`, free of each other and of `places`."""
    drawn: dict[str, tuple[float, float]] = {}
    for name in names:
        tries = (rng.uniform(*AROUND) for _ in range(TRIES))
        others = {**places, **drawn}
        found = next((at for at in tries if free(name, at, others, drawer)), None)
        if found is None:
            raise ConfigError(f"There is no room for {name} on the table.")
        drawn[name] = (float(found[0]), float(found[1]))
    return drawn
