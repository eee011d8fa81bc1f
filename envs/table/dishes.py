"""Round dishes that stand on a foot: bowls, plates, saucers."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.table.assets import lathe
from envs.table.robots import COLLISION, NO_CONTACT, OBJECT_BITS, VISUAL

SEGMENTS = 16
"""Flat staves that approximate a round dish, in collision; the visible one has three times that."""


def add_dish(
    spec: mujoco.MjSpec,
    name: str,
    foot: float,
    rim: float,
    height: float,
    wall: float,
    mass: float,
    rgba: tuple[float, ...],
    well_rgba: tuple[float, ...] | None = None,
) -> None:
    """A free body: flat round foot of radius `foot`, straight slanted wall up to radius `rim`.

    Collision: a cylinder and SEGMENTS boxes. The visible mesh has the same outline.
    """
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    contact = {
        "group": COLLISION, "friction": (0.8, 0.02, 0.001), "solref": (0.01, 1), **OBJECT_BITS,
    }  # fmt: skip
    area = foot**2 / (foot**2 + (rim + foot) * np.hypot(rim - foot, height))
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(foot, wall / 2, 0), pos=(0, 0, wall / 2),
        mass=mass * area, **contact,
    )  # fmt: skip
    # The wall's outer face runs from (foot, 0) to (rim, height); boxes lie just inside it. They
    # start 2 mm up: resting on the foot alone costs 8 contacts instead of 72, and half the time.
    lean = np.arctan2(rim - foot, height)
    outward, along = np.array([np.cos(lean), -np.sin(lean)]), np.array([np.sin(lean), np.cos(lean)])
    start = 0.002 / np.cos(lean)
    length = np.hypot(rim - foot, height) - start
    centre_r, centre_z = np.array([foot, 0]) + along * (start + length / 2) - outward * wall / 2
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
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(wall / 2, (rim - outward[0] * wall / 2) * np.tan(np.pi / SEGMENTS), length / 2),
            pos=(centre_r * np.cos(angle), centre_r * np.sin(angle), centre_z),
            quat=quat, mass=mass * (1 - area) / SEGMENTS, **contact,
        )  # fmt: skip
    inner_foot = foot - wall * (1 / np.cos(lean) - np.tan(lean))
    top_inside = (rim - wall * np.cos(lean), height + wall * np.sin(lean))
    outline = np.array(
        [
            (1e-4, 0.0), (foot, 0.0), (rim, height), top_inside,
            (inner_foot, wall), (1e-4, wall),
        ]
    )  # fmt: skip
    vertices, faces = lathe(outline, 3 * SEGMENTS)
    mesh = spec.add_mesh(name=name, uservert=vertices.ravel(), userface=faces.ravel())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, group=VISUAL, mass=0,
        **NO_CONTACT,
    )  # fmt: skip
    spec.add_material(name=name, rgba=rgba, specular=0.3, shininess=0.4)
    if well_rgba:  # a coat of paint on the inside of the foot
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(inner_foot, 0.0002, 0),
            pos=(0, 0, wall), rgba=well_rgba, group=VISUAL, mass=0, **NO_CONTACT,
        )  # fmt: skip
