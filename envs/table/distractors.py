"""Clutter: a pool of free bodies, of which each episode takes some.

The pool is part of the model, so that no episode recompiles it. What changes between episodes lives
in `MjData` (poses) or is applied just before drawing (colours). Unused objects wait weightless
behind the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.table import workspace as ws
from envs.table.robots import OBJECT_BITS, VISUAL
from para.errors import ConfigError

_G = mujoco.mjtGeom
_SIDEWAYS = (0.5**0.5, 0.0, 0.5**0.5, 0.0)  # a capsule or cylinder that lies along x
_UPRIGHT = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """One object of the pool, standing on z = 0 of its own frame.

    All are lower than 6.5 cm, so that a hand that carries something passes above them.

    Attributes:
        parts: Geom type, size [m], position [m] and orientation quaternion (w, x, y, z).
        radius: Of the circle around its footprint [m].
    """

    parts: tuple[tuple[mujoco.mjtGeom, tuple, tuple, tuple], ...]
    radius: float


def _shape(radius: float, *parts: tuple) -> Shape:
    return Shape(tuple((*part, _UPRIGHT)[:4] for part in parts), radius)


POOL = {
    "cube": _shape(0.033, (_G.mjGEOM_BOX, (0.023, 0.023, 0.023), (0, 0, 0.023))),
    "brick": _shape(0.046, (_G.mjGEOM_BOX, (0.040, 0.022, 0.016), (0, 0, 0.016))),
    "stairs": _shape(
        0.046,
        (_G.mjGEOM_BOX, (0.040, 0.020, 0.012), (0, 0, 0.012)),
        (_G.mjGEOM_BOX, (0.020, 0.020, 0.012), (-0.020, 0, 0.036)),
    ),
    "can": _shape(0.028, (_G.mjGEOM_CYLINDER, (0.028, 0.031, 0), (0, 0, 0.031))),
    "puck": _shape(0.040, (_G.mjGEOM_CYLINDER, (0.040, 0.011, 0), (0, 0, 0.011))),
    "roll": _shape(0.048, (_G.mjGEOM_CYLINDER, (0.018, 0.042, 0), (0, 0, 0.018), _SIDEWAYS)),
    "pill": _shape(0.050, (_G.mjGEOM_CAPSULE, (0.019, 0.030, 0), (0, 0, 0.019), _SIDEWAYS)),
    "egg": _shape(0.030, (_G.mjGEOM_ELLIPSOID, (0.030, 0.026, 0.020), (0, 0, 0.020))),
    "ball": _shape(
        0.026,
        (_G.mjGEOM_SPHERE, (0.026, 0, 0), (0, 0, 0.030)),
        (_G.mjGEOM_CYLINDER, (0.018, 0.004, 0), (0, 0, 0.004)),  # a small stand: it never rolls
    ),
    "mug": _shape(
        0.052,
        (_G.mjGEOM_CYLINDER, (0.029, 0.030, 0), (0, 0, 0.030)),
        (_G.mjGEOM_CAPSULE, (0.005, 0.013, 0), (0.045, 0, 0.030)),
        (_G.mjGEOM_CAPSULE, (0.005, 0.009, 0), (0.036, 0, 0.045), _SIDEWAYS),
        (_G.mjGEOM_CAPSULE, (0.005, 0.009, 0), (0.036, 0, 0.015), _SIDEWAYS),
    ),
    "bottle": _shape(
        0.024,
        (_G.mjGEOM_CYLINDER, (0.024, 0.020, 0), (0, 0, 0.020)),
        (_G.mjGEOM_CYLINDER, (0.010, 0.011, 0), (0, 0, 0.051)),
    ),
    "cross": _shape(
        0.044,
        (_G.mjGEOM_BOX, (0.042, 0.013, 0.014), (0, 0, 0.014)),
        (_G.mjGEOM_BOX, (0.013, 0.042, 0.0135), (0, 0, 0.0135)),
    ),
}

COLOURS = np.array(
    [
        (0.95, 0.75, 0.10), (0.20, 0.60, 0.25), (0.50, 0.25, 0.62), (0.94, 0.50, 0.10),
        (0.12, 0.65, 0.65), (0.93, 0.60, 0.70), (0.16, 0.16, 0.18), (0.45, 0.28, 0.16),
        (0.62, 0.78, 0.25), (0.85, 0.85, 0.83), (0.30, 0.40, 0.75), (0.70, 0.25, 0.20),
    ]
)  # fmt: skip
"""RGB. The last two are near those of our dishes: clutter should be able to confuse."""

PARKING = np.array([6.0, 0.0, 1.0])
LOW, HIGH = np.array([-0.33, -0.52]), np.array([0.36, 0.52])
"""Corners of the region for clutter: on the table and in the default picture [m]."""
GAP = 0.012
"""Smallest distance between footprints [m]."""
HAND_HALF_LENGTH, HAND_HALF_WIDTH = 0.105, 0.045
"""The room that the open hand needs along y and x where it grasps and releases [m]."""


def body_name(shape: str) -> str:
    """Of an object of the pool in the model, apart from the names of a task's objects."""
    return f"distractor_{shape}"


def add_pool(spec: mujoco.MjSpec) -> None:
    """Add every object of the pool to the scene, parked."""
    for i, (name, shape) in enumerate(POOL.items()):
        name = body_name(name)
        body = spec.worldbody.add_body(name=name, pos=PARKING + np.array([0.0, 0.2 * i, 0.0]))
        body.add_freejoint(name=name)
        for kind, size, pos, quat in shape.parts:
            body.add_geom(
                type=kind, size=(*size, 0, 0)[:3], pos=pos, quat=quat, density=400, group=VISUAL,
                condim=6, friction=(0.8, 0.02, 0.004), solref=(0.01, 1), **OBJECT_BITS,
            )  # fmt: skip


@dataclass(frozen=True)
class Clutter:
    """The distractors of one episode.

    Attributes:
        names: (N,) objects of the pool.
        positions: (N, 2) footprint centres [m].
        yaws: (N,) rotations about the vertical [rad].
        colours: (N, 3) RGB.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    yaws: np.ndarray
    colours: np.ndarray


def distance_to_hand(point: np.ndarray, tool: np.ndarray) -> float:
    """From a point to the rectangle of table under a hand at `tool`: (x, y, yaw) [m, rad]."""
    dx, dy = point - tool[:2]
    cos, sin = np.cos(tool[2]), np.sin(tool[2])
    across = np.array([cos * dx + sin * dy, cos * dy - sin * dx])
    beyond = np.abs(across) - (HAND_HALF_WIDTH, HAND_HALF_LENGTH)
    return float(np.hypot(*np.maximum(beyond, 0)))


def draw_clutter(
    count: int,
    seed: int,
    objects: Sequence[tuple[np.ndarray, float]],
    tools: Sequence[np.ndarray],
) -> Clutter:
    """Draw distractors that touch nothing, and leave the hand room where it works.

    Args:
        count: How many, at most `len(POOL)`.
        seed: Decides shapes, colours and places, together with where the task's objects are.
        objects: Centre (2,) [m] and radius [m] of the footprint of each of the task's objects.
        tools: (x, y, yaw) [m, rad] of the hand where it grasps and releases.

    Raises:
        ConfigError: More objects than the pool has, or than fit.
    """
    if count > len(POOL):
        raise ConfigError(f"distractors={count}, but the pool has {len(POOL)}.")
    rng = np.random.default_rng([seed, count])
    names = tuple(str(n) for n in rng.choice(list(POOL), count, replace=False))
    colours = COLOURS[rng.choice(len(COLOURS), count, replace=False)]
    yaws = rng.uniform(-np.pi, np.pi, count)
    taken = [*objects, (ws.EE_START[:2], 0.08)]
    positions = np.empty((count, 2))
    for i, name in enumerate(names):
        radius = POOL[name].radius
        for _ in range(10_000):
            point = rng.uniform(LOW + radius, HIGH - radius)
            apart = all(np.hypot(*(point - p)) > radius + r + GAP for p, r in taken)
            if apart and all(distance_to_hand(point, tool) > radius for tool in tools):
                break
        else:
            raise ConfigError(f"No room for {count} distractors on the table (seed {seed}).")
        positions[i] = point
        taken.append((point, radius))
    return Clutter(names, positions, yaws, colours)


def place_clutter(model: mujoco.MjModel, data: mujoco.MjData, clutter: Clutter) -> None:
    """Put the episode's objects on the table and hold the others in the air (after a reset)."""
    used = dict(zip(clutter.names, range(len(clutter.names)), strict=True))
    for name in POOL:
        body = model.body(body_name(name)).id
        if name not in used:
            data.xfrc_applied[body, :3] = -model.body_mass[body] * model.opt.gravity
            continue
        i = used[name]
        address = int(model.joint(body_name(name)).qposadr[0])
        half = clutter.yaws[i] / 2
        data.qpos[address : address + 3] = (*clutter.positions[i], 0.0)
        data.qpos[address + 3 : address + 7] = (np.cos(half), 0, 0, np.sin(half))


def paint_clutter(model: mujoco.MjModel, clutter: Clutter) -> None:
    """Give the shared model this episode's colours; call it before drawing."""
    for name, colour in zip(clutter.names, clutter.colours, strict=True):
        body = model.body(body_name(name))
        first, count = int(body.geomadr[0]), int(body.geomnum[0])
        model.geom_rgba[first : first + count, :3] = colour
