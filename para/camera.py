"""The pinhole camera, and the one pixel convention that everything here shares.

Pixel (row i, column j) covers [j, j + 1) x [i, i + 1) in continuous pixel coordinates (u, v), so
its centre is (j + 0.5, i + 0.5) and an image of width W spans u in [0, W]. Camera axes: OpenCV,
x right, y down, z forward. World frame: z up, the table top is z = 0. Lengths are metres.

    depth * (u, v, 1)^T = K (R_camera_world p_world + t_camera_world)

Rendering, projection, resizing, cropping, augmentation and decoding all go through `Camera`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from para.errors import ParaError

Array = Any
"""A `numpy.ndarray` or a `torch.Tensor`; a camera and its points must be of the same kind."""
FARTHEST = 10.0
"""Depth [m] beyond which no ray meets a plane: no table is that far from its camera."""


class CameraError(ParaError):
    """Matrices that do not describe a camera."""


def _namespace(array: Array) -> ModuleType:
    # Who has a tensor has imported torch; simulators and command lines do without it.
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def _matvec(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def between_centres(homography: np.ndarray) -> np.ndarray:
    """A map of pixel coordinates (..., 3, 3) for cv2, which counts from the centre of a pixel.

    The centre of pixel (i, j) is (u, v) = (j + 0.5, i + 0.5); in cv2's coordinates it is (j, i).
    """
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(centre) @ homography @ centre


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, or a batch of them.

    Attributes:
        intrinsics: K, (..., 3, 3), in pixels, last row (0, 0, 1).
        T_world_camera: (..., 4, 4) rigid transform, camera frame to world frame, in metres.
        width: Image width in pixels.
        height: Image height in pixels.

    The leading dimensions, if any, are batch dimensions. Points passed to a batch of cameras
    have the batch dimensions first and may have more after them: cameras (B,), points (B, T, 3).
    """

    intrinsics: Array
    T_world_camera: Array
    width: int
    height: int

    @classmethod
    def look_at(
        cls,
        eye: Array,
        target: Array,
        fovy_deg: float,
        width: int,
        height: int,
        up: Array = (0, 0, 1),
    ) -> Camera:
        """Camera at `eye` (3,) [m] that looks at `target` (3,) [m]; square pixels, centred."""
        eye, target, up = (np.asarray(a, dtype=np.float64) for a in (eye, target, up))
        forward = target - eye
        right = np.cross(forward, up)
        if np.linalg.norm(right) < 1e-9:
            raise CameraError(
                "look_at: the viewing direction is parallel to `up`; choose another `up`."
            )
        z = forward / np.linalg.norm(forward)
        x = right / np.linalg.norm(right)
        T = np.eye(4)
        T[:3, :4] = np.stack([x, np.cross(z, x), z, eye], axis=1)
        f = 0.5 * height / np.tan(0.5 * np.radians(fovy_deg))
        K = np.array([[f, 0.0, 0.5 * width], [0.0, f, 0.5 * height], [0.0, 0.0, 1.0]])
        return cls(K, T, width, height)

    def validate(self) -> Camera:
        """Return self, or raise `CameraError` if the matrices are not those of a camera."""
        K, T = np.asarray(self.intrinsics, np.float64), np.asarray(self.T_world_camera, np.float64)
        if K.shape[-2:] != (3, 3) or T.shape[-2:] != (4, 4):
            raise CameraError(
                f"A camera needs intrinsics (..., 3, 3) and T_world_camera (..., 4, 4), "
                f"got {K.shape} and {T.shape}."
            )
        if not (np.isfinite(K).all() and np.isfinite(T).all()):
            raise CameraError("The camera matrices contain NaN or infinity.")
        if (np.abs(np.linalg.det(K)) < 1e-9).any():
            raise CameraError(
                f"The intrinsics are singular (zero focal length?), so no pixel has a ray:\n{K}"
            )
        R = T[..., :3, :3]
        if (
            not np.allclose(R @ np.swapaxes(R, -1, -2), np.eye(3), atol=1e-4)
            or (np.linalg.det(R) < 0).any()
        ):
            raise CameraError(f"The rotation in T_world_camera is not a rotation matrix:\n{R}")
        ends = ("intrinsics", K, [0, 0, 1]), ("T_world_camera", T, [0, 0, 0, 1])
        for name, matrix, last in ends:
            if not np.allclose(matrix[..., -1, :], last):
                raise CameraError(
                    f"The last row of {name} must be {last}: is it transposed? It is\n{matrix}"
                )
        return self

    def _align(self, matrix: Array, points: Array) -> Array:
        """Insert singleton dimensions so that batched matrices broadcast against `points`."""
        extra = points.ndim - 1 - (matrix.ndim - 2)
        if matrix.ndim == 2 or extra <= 0:
            return matrix
        return matrix.reshape(matrix.shape[:-2] + (1,) * extra + matrix.shape[-2:])

    def in_camera(self, points_world: Array) -> Array:
        """World points (..., 3) [m] in the camera's own frame, (..., 3) [m]."""
        xp = _namespace(points_world)
        T = self._align(self.T_world_camera, points_world)
        return _matvec(xp.swapaxes(T[..., :3, :3], -1, -2), points_world - T[..., :3, 3])

    def in_world(self, points_camera: Array) -> Array:
        """Inverse of `in_camera`."""
        T = self._align(self.T_world_camera, points_camera)
        return _matvec(T[..., :3, :3], points_camera) + T[..., :3, 3]

    def project(self, points_world: Array) -> tuple[Array, Array]:
        """Project world points (..., 3) [m] to pixels (..., 2) as (u, v) and depths (...) [m].

        Depth is along the optical axis. A point with depth <= 0 is behind the camera; its pixel is
        meaningless (`in_view` returns False for it).
        """
        xp = _namespace(points_world)
        points_camera = self.in_camera(points_world)
        homogeneous = _matvec(self._align(self.intrinsics, points_world), points_camera)
        depth = homogeneous[..., 2]
        safe = xp.where(xp.abs(depth) < 1e-9, xp.full_like(depth, 1e-9), depth)
        return homogeneous[..., :2] / safe[..., None], depth

    def rays(self, pixels: Array) -> tuple[Array, Array]:
        """Rays through pixels (..., 2): origins (..., 3) [m] and directions (..., 3), world frame.

        Directions are not normalised: their component along the optical axis is 1, so
        origin + depth * direction is the point at that depth.
        """
        xp = _namespace(pixels)
        K_inv = self._align(xp.linalg.inv(self.intrinsics), pixels)
        T = self._align(self.T_world_camera, pixels)
        homogeneous = xp.concatenate([pixels, xp.ones_like(pixels[..., :1])], -1)
        directions = _matvec(T[..., :3, :3], _matvec(K_inv, homogeneous))
        return xp.broadcast_to(T[..., :3, 3], directions.shape), directions

    def unproject_to_height(self, pixels: Array, heights: Array) -> Array:
        """Intersect the rays of pixels (..., 2) with the planes z = heights (...) [m].

        Returns world points (..., 3) [m]; NaN, all three, where the ray misses: it is parallel to
        the plane, or meets it behind the camera or more than `FARTHEST` in front of it.
        """
        xp = _namespace(pixels)
        origins, directions = self.rays(pixels)
        dz = directions[..., 2]
        depth = (heights - origins[..., 2]) / xp.where(xp.abs(dz) < 1e-9, math.nan, dz)
        meets = (depth > 0) & (depth <= FARTHEST)  # False for NaN
        return xp.where(meets[..., None], origins + depth[..., None] * directions, math.nan)

    def behind_origin(self, points_world: Array) -> Array:
        """How far world points (..., 3) [m] lie behind the world's origin, as the camera sees it.

        Their depth less that of the origin, (...) [m]: z . X with the optical axis z.
        """
        T = self._align(self.T_world_camera, points_world)
        return (T[..., :3, 2] * points_world).sum(-1)

    def unproject_behind_origin(self, pixels: Array, behind: Array) -> Array:
        """Inverse: the points of the rays of pixels (..., 2) that lie so far behind it (...) [m].

        Planes that face the camera meet every ray well, however low it stands. Returns world points
        (..., 3) [m]; NaN, all three, where depths are not between 0 and `FARTHEST`.
        """
        xp = _namespace(pixels)
        origins, directions = self.rays(pixels)
        depth = behind - self.behind_origin(origins)
        ahead = (depth > 0) & (depth <= FARTHEST)
        return xp.where(ahead[..., None], origins + depth[..., None] * directions, math.nan)

    def nearest_on_rays(self, pixels: Array, points_world: Array) -> Array:
        """The points of the rays of pixels (..., 2) that are nearest to world points (..., 3) [m].

        Returns world points (..., 3) [m].
        """
        origins, directions = self.rays(pixels)
        along = ((points_world - origins) * directions).sum(-1) / (directions**2).sum(-1)
        return origins + along[..., None] * directions

    def turn_in_image(self, points_world: Array, yaws: Array) -> Array:
        """How a hand that is turned by `yaws` (...) [rad] at world points (..., 3) [m] looks.

        Its fingers open along d = (-sin yaw, cos yaw, 0), so their line runs through the image
        along the derivative of the projection: with h = K R^T (p - t) and h' = K R^T d,

            angle = atan2(h'_v - v h'_z, h'_u - u h'_z)        (Camera.project: (u, v) = h_uv / h_z)

        Returns angles (...) modulo pi [rad], from the image's u axis towards its v axis. They
        follow the image when it is warped with its camera, as yaws do not.
        """
        xp = _namespace(points_world)
        pixels, _ = self.project(points_world)
        R = self._align(self.T_world_camera, points_world)[..., :3, :3]
        fingers = xp.stack([-xp.sin(yaws), xp.cos(yaws), xp.zeros_like(yaws)], -1)
        in_camera = _matvec(xp.swapaxes(R, -1, -2), fingers)
        h = _matvec(self._align(self.intrinsics, points_world), in_camera)
        line = h[..., :2] - pixels * h[..., 2:]
        return xp.arctan2(line[..., 1], line[..., 0])

    def turn_in_world(self, points_world: Array, angles: Array) -> Array:
        """Inverse of `turn_in_image`: yaws (...) modulo pi [rad] of hands at points (..., 3) [m].

        The ray r(u, v) = R K^-1 (u, v, 1) of the point meets its plane at t + s r; along the angle
        it moves by s (r' - r r'_z / r_z) with r' = R K^-1 (cos angle, sin angle, 0). NaN stays NaN.
        """
        xp = _namespace(points_world)
        pixels, _ = self.project(points_world)
        _, rays = self.rays(pixels)
        K_inv = self._align(xp.linalg.inv(self.intrinsics), pixels)
        R = self._align(self.T_world_camera, pixels)[..., :3, :3]
        line = xp.stack([xp.cos(angles), xp.sin(angles), xp.zeros_like(angles)], -1)
        along = _matvec(R, _matvec(K_inv, line))
        dz = xp.where(xp.abs(rays[..., 2]) < 1e-9, xp.full_like(angles, 1e-9), rays[..., 2])
        fingers = along - rays * (along[..., 2] / dz)[..., None]
        return xp.arctan2(-fingers[..., 0], fingers[..., 1])

    def in_view(self, pixels: Array, depth: Array) -> Array:
        """Boolean (...): the pixel is inside the image and the point is in front of the camera."""
        u, v = pixels[..., 0], pixels[..., 1]
        return (depth > 0) & (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)

    def _transformed(self, affine: Array, width: int, height: int) -> Camera:
        K = self.intrinsics
        if (xp := _namespace(K)) is not np:
            affine = xp.as_tensor(affine, dtype=K.dtype, device=K.device)
        return replace(self, intrinsics=affine @ K, width=width, height=height)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of this image after it has been resized to `width` x `height` pixels."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return self._transformed(scale, width, height)

    def cropped(self, left: float, top: float, width: int, height: int) -> Camera:
        """The camera of the crop whose top left corner is at pixel coordinates (left, top)."""
        shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
        return self._transformed(shift, width, height)

    def warped(self, affine: Array) -> Camera:
        """The camera of this image after an affine warp of pixel coordinates, size unchanged.

        Args:
            affine: (..., 3, 3), maps old (u, v, 1) to new (u, v, 1), last row (0, 0, 1).
        """
        return self._transformed(affine, self.width, self.height)

    def rotated(self, R_new_old: Array) -> tuple[Camera, Array]:
        """Rotate the camera about its own centre: an exact homography of the image.

        Args:
            R_new_old: (..., 3, 3) rotation, old camera frame to new camera frame.

        Returns:
            The rotated camera, and the homography (..., 3, 3) K R K^-1 that maps old pixel
            coordinates to new ones (Hartley & Zisserman, Multiple View Geometry, section 8.4.2).
        """
        xp = _namespace(self.intrinsics)
        homography = self.intrinsics @ R_new_old @ xp.linalg.inv(self.intrinsics)
        rotation = self.T_world_camera[..., :3, :3] @ xp.swapaxes(R_new_old, -1, -2)
        top = xp.concatenate([rotation, self.T_world_camera[..., :3, 3:]], -1)
        T = xp.concatenate([top, self.T_world_camera[..., 3:, :]], -2)
        return replace(self, T_world_camera=T), homography

    def upright(self) -> Camera:
        """The same camera with upper triangular intrinsics.

        An image that was turned in its plane has the turn in its intrinsics (`warped`); here it is
        a roll of the camera about its optical axis. Nothing projects elsewhere. It is the RQ
        decomposition of K (Hartley & Zisserman, Multiple View Geometry, A4.1.1), in closed form
        since K's last row is (0, 0, 1).
        """
        xp, K = _namespace(self.intrinsics), self.intrinsics
        (a, b), (c, d) = ((K[..., i, 0], K[..., i, 1]) for i in (0, 1))
        fy = (c**2 + d**2) ** 0.5
        sin, cos = c / fy, d / fy
        zero, one = xp.zeros_like(a), xp.ones_like(a)
        roll = [cos, -sin, zero, sin, cos, zero, zero, zero, one]
        upper = [a * cos - b * sin, a * sin + b * cos, K[..., 0, 2], zero, fy, K[..., 1, 2]]
        turn, triangular = (
            xp.stack(entries, -1).reshape(K.shape) for entries in (roll, [*upper, zero, zero, one])
        )
        return replace(self.rotated(turn)[0], intrinsics=triangular)
