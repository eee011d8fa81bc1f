"""Boxes, pucks and trays: what tasks push, stack and fit together."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.table.robots import NO_CONTACT, OBJECT_BITS, VISUAL

CONTACT = {
    "group": VISUAL, "friction": (0.8, 0.02, 0.001), "priority": 2, "solref": (-5000.0, -300.0),
    **OBJECT_BITS,
}  # fmt: skip
"""Friction as that of the dishes. Stiffness and damping [1/s2, 1/s] go before those of the fingers'
pads: between two flat faces the pads' own make the light fingers chatter at 4 ms a step, so that a
block of 60 g creeps out of them (Panda: 19 of 32 stacked, against 32 with these)."""

PUSHED = CONTACT | {"solref": (-5000.0, -150.0)}
"""Of what is hit, not held: half the damping. In a step of 4 ms that of CONTACT takes 1.2 times the
approach speed: the fingers shot a puck off at 2.5 times their speed, through the air."""


def add_free_body(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """A body of its own with a free joint of the same name, at the world's origin."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    return body


def add_box(
    body: mujoco.MjsBody,
    half: tuple[float, float, float],
    rgba: tuple[float, ...],
    mass: float,
    centre: tuple[float, float] = (0.0, 0.0),
    foot: float = 0.0,
) -> None:
    """A box on a body: half sizes [m], centre (x, y) and foot height [m] in the body's frame."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=half, pos=(*centre, foot + half[2]), rgba=rgba,
        mass=mass, **CONTACT,
    )  # fmt: skip


def add_puck(
    body: mujoco.MjsBody, radius: float, height: float, rgba: tuple[float, ...], mass: float
) -> None:
    """An upright cylinder on a body, foot on z = 0 of its frame."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(radius, height / 2, 0), pos=(0, 0, height / 2),
        rgba=rgba, mass=mass, **PUSHED,
    )  # fmt: skip


def half_turn(yaw: float) -> float:
    """An angle modulo pi, in [-pi/2, pi/2): of what looks the same after half a turn [rad]."""
    return float((yaw + np.pi / 2) % np.pi - np.pi / 2)


def quarter_turn(yaw: float) -> float:
    """An angle modulo pi/2, in [-pi/4, pi/4): of what looks the same after a quarter turn [rad]."""
    return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def yaw_of(pose: np.ndarray) -> float:
    """Rotation about the vertical of a pose (7,), in [-pi, pi] [rad]."""
    w, x, y, z = pose[3:]
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def add_mark(spec: mujoco.MjSpec, name: str, radius: float, rgba: tuple[float, ...]) -> None:
    """A disc painted on the table: it is seen and meets nothing."""
    body = spec.worldbody.add_body(name=name, mocap=True)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(radius, 0.0004, 0), pos=(0, 0, 0.0004),
        rgba=rgba, group=VISUAL, **NO_CONTACT,
    )  # fmt: skip
