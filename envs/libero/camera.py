"""LIBERO's outer camera as a `Camera`, and views around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from envs.base import EnvConfig
from envs.libero import TABLE_TOP
from envs.table.viewpoints import viewpoint_camera
from para.camera import Camera

CAMERA = "agentview"


@dataclass(frozen=True)
class AgentView:
    """The camera of the scene's file, as a point that it looks at and where it is from there.

    Attributes:
        look_at: (3,) where its axis meets the table top, our world frame [m].
        distance: From there to the camera [m].
        elevation_deg: Above the table, as seen from there [deg].
        fovy_deg: Vertical field of view [deg].
    """

    look_at: np.ndarray
    distance: float
    elevation_deg: float
    fovy_deg: float

    @classmethod
    def of(cls, model: mujoco.MjModel, data: mujoco.MjData) -> AgentView:
        """The camera of a scene whose positions `data` holds."""
        number = model.camera(CAMERA).id
        eye = data.cam_xpos[number] - [0, 0, TABLE_TOP]
        axis = -data.cam_xmat[number].reshape(3, 3)[:, 2]
        distance = -eye[2] / axis[2]
        elevation = np.degrees(np.arcsin(-axis[2]))
        look_at = eye + distance * axis
        return cls(look_at, float(distance), float(elevation), float(model.cam_fovy[number]))

    def camera(
        self,
        config: EnvConfig,
        theta_deg: float = 0.0,
        phi_deg: float = 0.0,
        distance: float | None = None,
        fovy_deg: float | None = None,
    ) -> Camera:
        """The camera at polar angle `theta_deg` from this one's axis, in direction `phi_deg`.

        Args:
            config: The size of its images.
            theta_deg, phi_deg: See `envs.table.viewpoints.viewpoint_camera`.
            distance: To the point looked at [m]; None: this one's.
            fovy_deg: Vertical field of view [deg]; None: this one's.
        """
        seen = replace(
            config,
            camera_distance=distance or self.distance,
            camera_elevation_deg=self.elevation_deg,
            camera_fovy_deg=fovy_deg or self.fovy_deg,
        )
        return viewpoint_camera(seen, theta_deg, phi_deg, look_at=self.look_at)


def orbit(azimuth_deg: float, raised_deg: float, elevation_deg: float) -> tuple[float, float]:
    """Viewpoint (theta, phi) [deg] of a camera that goes round the vertical and up.

    Args:
        azimuth_deg: Round the vertical through the point looked at; positive to image right.
        raised_deg: Up.
        elevation_deg: Of the camera that theta is measured from.
    """
    start, end = np.radians([elevation_deg, elevation_deg + raised_deg])
    azimuth = np.radians(azimuth_deg)
    axis = np.array([np.cos(start), 0.0, np.sin(start)])
    up = np.array([-np.sin(start), 0.0, np.cos(start)])
    way = np.array([np.cos(end) * np.cos(azimuth), np.cos(end) * np.sin(azimuth), np.sin(end)])
    theta = np.degrees(np.arccos(np.clip(way @ axis, -1, 1)))
    phi = np.degrees(np.arctan2(way @ up, way[1])) % 360
    return rounded(float(theta), float(phi))


def rounded(theta_deg: float, phi_deg: float) -> tuple[float, float]:
    """A viewpoint to a millionth of a degree; phi is 0 where it says nothing.

    The last digits differ between processors, and starts are known by their text.
    """
    theta = round(theta_deg, 6)
    return theta, round(phi_deg, 6) if theta else 0.0


def in_libero(camera: Camera) -> Camera:
    """The same camera in LIBERO's world frame, whose z is 0 on the floor."""
    T = camera.T_world_camera.copy()
    T[2, 3] += TABLE_TOP
    return replace(camera, T_world_camera=T)
