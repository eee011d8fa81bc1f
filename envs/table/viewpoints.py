"""The 64 viewpoints: a spherical cap around the default camera's viewing axis."""

from __future__ import annotations

import numpy as np

from envs.base import EnvConfig
from para.camera import Camera

THETAS = 8
PHIS = 8
PHIS_DEG = tuple(360.0 * i / PHIS for i in range(PHIS))
LOOK_AT = np.array([0.0, 0.0, 0.03])
"""The point that every camera looks at, world frame [m]."""


def thetas_deg(env: EnvConfig) -> tuple[float, ...]:
    """The 8 polar angles, 0 ... theta_max_deg [deg]."""
    return tuple(env.theta_max_deg * i / (THETAS - 1) for i in range(THETAS))


THETAS_DEG = thetas_deg(EnvConfig())
"""The polar angles of the default configuration, 0, 3.57, ... 25 deg: what figures draw."""


def viewpoint_camera(
    env: EnvConfig,
    theta_deg: float = 0.0,
    phi_deg: float = 0.0,
    size: int | None = None,
    look_at: np.ndarray = LOOK_AT,
) -> Camera:
    """The camera at polar angle `theta_deg` from the default axis, in direction `phi_deg`.

    The eye stays at `env.camera_distance` from `look_at` and moves on a sphere; phi = 0 moves it to
    image right (+y), phi = 90 up in the image.

    Args:
        env: Distance, elevation and field of view of the default camera.
        theta_deg: Angle between this viewing axis and the default one [deg].
        phi_deg: Azimuth on the cap [deg].
        size: Height and width of the square image [px]; None: `env.image_size`.
        look_at: (3,) the point that it looks at, world frame [m].
    """
    elevation = np.radians(env.camera_elevation_deg)
    axis = np.array([np.cos(elevation), 0.0, np.sin(elevation)])
    right = np.array([0.0, 1.0, 0.0])
    up = np.cross(axis, right)
    theta, phi = np.radians([theta_deg, phi_deg])
    direction = np.cos(theta) * axis + np.sin(theta) * (np.cos(phi) * right + np.sin(phi) * up)
    size = size or env.image_size
    eye = look_at + env.camera_distance * direction
    # Straight above, image up is where it is for its neighbours: towards the robot.
    above = np.hypot(*direction[:2]) < 1e-9
    return Camera.look_at(
        eye, look_at, env.camera_fovy_deg, size, size, up=(-1, 0, 0) if above else (0, 0, 1)
    )
