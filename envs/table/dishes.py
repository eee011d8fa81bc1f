"""Round dishes that stand on a foot: bowls, plates, saucers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import mujoco
import numpy as np

from envs.episodes import UNSEEN, VARIED
from envs.table.assets import lathe
from envs.table.robots import COLLISION, NO_CONTACT, OBJECT_BITS, VISUAL

SEGMENTS = 16
"""Flat staves that approximate a round dish, in collision; the visible one has three times that."""


@dataclass(frozen=True)
class DishShape:
    """A dish without its name and colour.

    Attributes:
        outline: (radius, height) [m] of the outer face of the wall: from the foot, whose height is
            0, to the rim, straight between these points.
        wall: Its thickness [m].
        mass: [kg]
        well: The inside of the foot is painted.
    """

    outline: tuple[tuple[float, float], ...]
    wall: float
    mass: float
    well: bool = False


WELL_RGBA = (0.80, 0.81, 0.80, 1.0)

USUAL = "usual"
"""The shape of every dish where appearance is fixed."""
BOWLS = {
    USUAL: DishShape(((0.041, 0.0), (0.056, 0.046)), 0.005, 0.12),
    "steep": DishShape(((0.046, 0.0), (0.051, 0.050)), 0.005, 0.12),
    "wide": DishShape(((0.030, 0.0), (0.044, 0.013), (0.056, 0.037)), 0.005, 0.12),
    "round": DishShape(((0.026, 0.0), (0.044, 0.010), (0.051, 0.028), (0.053, 0.048)), 0.005, 0.12),
}
"""The wall of each passes 4 to 5 cm from the axis 2 cm above the table, and is lower than 5.2 cm:
there the fingers hold it."""
PLATES = {
    USUAL: DishShape(((0.058, 0.0), (0.085, 0.011)), 0.005, 0.35, well=True),
    "flat": DishShape(((0.074, 0.0), (0.085, 0.006)), 0.005, 0.35, well=True),
    "deep": DishShape(((0.062, 0.0), (0.072, 0.013), (0.084, 0.016)), 0.005, 0.35, well=True),
}
"""The foot of each has room for that of every bowl."""
SHAPES = {
    "bowl": {VARIED: (USUAL, "steep", "wide"), UNSEEN: ("round",)},
    "plate": {VARIED: (USUAL, "flat"), UNSEEN: ("deep",)},
}
"""Which shapes a kind of dish comes in, by appearance: `TableTask.shapes`."""


def add_dish(
    spec: mujoco.MjSpec, name: str, shape: DishShape, rgba: tuple[float, float, float, float]
) -> None:
    """A free body: flat round foot, and a wall of straight pieces up to the rim.

    Collision: a cylinder, and SEGMENTS boxes for each piece of the wall. The visible mesh has the
    same outline.
    """
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    contact = {
        "group": COLLISION, "friction": (0.8, 0.02, 0.001), "solref": (0.01, 1), **OBJECT_BITS,
    }  # fmt: skip
    wall, (foot, _) = shape.wall, shape.outline[0]
    pieces = list(pairwise(shape.outline))
    # In units of pi: the foot has foot^2 of the whole area.
    areas = [(r1 + r0) * np.hypot(r1 - r0, z1 - z0) for (r0, z0), (r1, z1) in pieces]
    of_foot = foot**2 / (foot**2 + sum(areas))
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(foot, wall / 2, 0), pos=(0, 0, wall / 2),
        mass=shape.mass * of_foot, **contact,
    )  # fmt: skip
    for (low, high), area in zip(pieces, areas, strict=True):
        mass = shape.mass * (1 - of_foot) / SEGMENTS * (area / sum(areas))
        for box in _staves(low, high, wall):
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, mass=mass, **box, **contact)
    inside = _inside(shape)
    outline = np.array([(1e-4, 0.0), *shape.outline, *inside, (1e-4, wall)])
    vertices, faces = lathe(outline, 3 * SEGMENTS)
    mesh = spec.add_mesh(name=name, uservert=vertices.ravel(), userface=faces.ravel())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, group=VISUAL, mass=0,
        **NO_CONTACT,
    )  # fmt: skip
    spec.add_material(name=name, rgba=rgba, specular=0.3, shininess=0.4)
    if shape.well:  # a coat of paint on the inside of the foot
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(inside[-1][0], 0.0002, 0),
            pos=(0, 0, wall), rgba=WELL_RGBA, group=VISUAL, mass=0, **NO_CONTACT,
        )  # fmt: skip


def _staves(
    low: tuple[float, float], high: tuple[float, float], wall: float
) -> list[dict[str, tuple[float, ...] | np.ndarray]]:
    """Size, place and orientation of the boxes just inside a piece of the wall's outer face.

    Where it begins on the table they start 2 mm up: resting on the foot alone costs 8 contacts
    instead of 72, and half the time.
    """
    (r0, z0), (r1, z1) = low, high
    lean = np.arctan2(r1 - r0, z1 - z0)
    outward, along = np.array([np.cos(lean), -np.sin(lean)]), np.array([np.sin(lean), np.cos(lean)])
    start = 0.0 if z0 else 0.002 / np.cos(lean)
    length = np.hypot(r1 - r0, z1 - z0) - start
    centre_r, centre_z = np.array([r0, z0]) + along * (start + length / 2) - outward * wall / 2
    size = (wall / 2, (r1 - outward[0] * wall / 2) * np.tan(np.pi / SEGMENTS), length / 2)
    boxes = []
    for k in range(SEGMENTS):
        angle = 2 * np.pi * k / SEGMENTS
        half_angle, half_lean = angle / 2, lean / 2
        # Rotate about z by the angle, then lean about the local y axis.
        quat = np.empty(4)
        mujoco.mju_mulQuat(
            quat,
            np.array([np.cos(half_angle), 0, 0, np.sin(half_angle)]),
            np.array([np.cos(half_lean), 0, np.sin(half_lean), 0]),
        )
        pos = (centre_r * np.cos(angle), centre_r * np.sin(angle), centre_z)
        boxes.append({"size": size, "pos": pos, "quat": quat})
    return boxes


def _inside(shape: DishShape) -> list[tuple[float, float]]:
    """The wall's inner face (radius, height) [m], from the rim down to the foot's upper side."""
    wall, pieces = shape.wall, list(pairwise(shape.outline))
    leans = [np.arctan2(r1 - r0, z1 - z0) for (r0, z0), (r1, z1) in pieces]
    (foot, _), (rim, height), last = shape.outline[0], shape.outline[-1], leans[-1]
    points = [(rim - wall * np.cos(last), height + wall * np.sin(last))]
    for k in reversed(range(1, len(pieces))):
        (r, z), below, above = shape.outline[k], leans[k - 1], leans[k]
        # Where the inner faces of two pieces meet: on their bisector, `wall` away from both.
        lean, reach = (below + above) / 2, wall / np.cos((below - above) / 2)
        points.append((r - reach * np.cos(lean), z + reach * np.sin(lean)))
    inner_foot = foot - wall * (1 / np.cos(leans[0]) - np.tan(leans[0]))
    return [*points, (inner_foot, wall)]
