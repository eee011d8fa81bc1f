"""Demos whose images show a tool that moves as its poses say, and all that can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from synthetic_demos import make_episode

from para.camera import Camera
from para.data.format import Episode, encode_image

SIZE, FRAMES = 96, 40
EYE = (0.95, 0.4, 1.0)


def drawn_episode(index: int, size: int = SIZE) -> Episode:
    """A textured tool over a textured table; the camera is beside the plane of symmetry."""
    rng = np.random.default_rng(index)
    view = Camera.look_at(EYE, (0, 0, 0.05), 45, size, size)
    corners = rng.uniform([-0.15, -0.22, 0.02], [0.15, 0.22, 0.22], (6, 3))
    corners[2, 2] = 0.02
    time = np.linspace(0, 5, FRAMES)
    path = np.stack([np.interp(time, range(6), corners[:, k]) for k in range(3)], 1)
    turn = Rotation.from_euler("xyz", np.column_stack([np.pi + 0 * time, 0 * time, 0.2 * time]))
    table = cv2.resize(rng.uniform(0, 1, (12, 12)), (size, size))[..., None]
    table = (table * 60 + [150, 110, 60]).clip(0, 255).astype(np.uint8)
    cloth = rng.integers(0, 256, (9, 9, 1)).astype(np.uint8).repeat(3, 2)
    pixels, depth = view.project(path)
    images = []
    for (u, v), away in zip(pixels, depth, strict=True):
        side = 0.09 * view.intrinsics[0, 0] / away
        move = np.array([[side / 9, 0, u - side / 2], [0, side / 9, v - side / 2]])
        over = cv2.warpAffine(cloth, move, (size, size), flags=cv2.INTER_LINEAR)
        mask = cv2.warpAffine(np.ones((9, 9), np.uint8), move, (size, size)) > 0
        images.append(np.where(mask[..., None], over, table))
    base = make_episode(index, FRAMES, size)
    arrays = base.arrays | {
        "actions": np.column_stack([path, np.ones(FRAMES)]),
        "obs/ee_pose": np.column_stack([path, turn.as_quat(scalar_first=True)]),
        "obs/intrinsics": np.tile(view.intrinsics, (FRAMES, 1, 1)),
        "obs/T_world_camera": np.tile(view.T_world_camera, (FRAMES, 1, 1)),
    }
    return replace(base, frames=[encode_image(i) for i in images], arrays=arrays)


def _pose(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Episode], Episode]:
    def inject(episode: Episode) -> Episode:
        pose = episode.arrays["obs/ee_pose"].copy()
        pose[:, :3] = change(pose[:, :3])
        return replace(episode, arrays=episode.arrays | {"obs/ee_pose": pose})

    return inject


def _turn(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Episode], Episode]:
    def inject(episode: Episode) -> Episode:
        pose = episode.arrays["obs/ee_pose"].copy()
        pose[:, 3:] = change(pose[:, 3:])
        return replace(episode, arrays=episode.arrays | {"obs/ee_pose": pose})

    return inject


def _degrees(quaternions: np.ndarray) -> np.ndarray:
    angles = Rotation.from_quat(quaternions, scalar_first=True).as_euler("xyz", degrees=True)
    return Rotation.from_euler("xyz", angles).as_quat(scalar_first=True)


def _images(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Episode], Episode]:
    def inject(episode: Episode) -> Episode:
        frames = [encode_image(np.ascontiguousarray(change(i))) for i in episode.images()]
        return replace(episode, frames=frames)

    return inject


def _camera(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Episode], Episode]:
    def inject(episode: Episode) -> Episode:
        T = np.stack([change(m) for m in episode.arrays["obs/T_world_camera"]])
        return replace(episode, arrays=episode.arrays | {"obs/T_world_camera": T})

    return inject


def _later(frames: int) -> Callable[[Episode], Episode]:
    def inject(episode: Episode) -> Episode:
        places = np.clip(np.arange(episode.meta.num_samples) - frames, 0, None)
        pose = episode.arrays["obs/ee_pose"][places]
        return replace(episode, arrays=episode.arrays | {"obs/ee_pose": pose})

    return inject


def _lifted(height: float) -> Callable[[Episode], Episode]:
    up = np.array([0, 0, height])

    def raise_camera(T: np.ndarray) -> np.ndarray:
        T = T.copy()
        T[:3, 3] += up
        return T

    return lambda episode: _camera(raise_camera)(_pose(lambda p: p + up)(episode))


def _in_millimetres(T: np.ndarray) -> np.ndarray:
    T = T.copy()
    T[:3, 3] *= 1000
    return T


def _aside(episode: Episode) -> Episode:
    """A camera that looks past the workspace, and images that it has taken."""
    shift = round(0.62 * SIZE)
    K = episode.arrays["obs/intrinsics"].copy()
    K[:, 0, 2] -= shift
    moved = _images(lambda i: np.roll(i, -shift, 1))(episode)
    return replace(moved, arrays=moved.arrays | {"obs/intrinsics": K})


INJECTED: dict[str, tuple[str, Callable[[Episode], Episode], str]] = {
    "x and y exchanged": ("swapped_axes", _pose(lambda p: p[:, [1, 0, 2]]), "columns y, x, z"),
    "axes rotated by one": ("swapped_axes", _pose(lambda p: p[:, [1, 2, 0]]), "columns z, x, y"),
    "y of the wrong sign": ("handedness", _pose(lambda p: p * [1, -1, 1]), "Use -y"),
    "degrees for radians": ("degrees", _turn(_degrees), "multiply by pi / 180"),
    "quaternion x, y, z, w": ("quaternion_order", _turn(lambda q: q[:, [1, 2, 3, 0]]), "xyzw"),
    "millimetres": ("millimetres", _pose(lambda p: 1000 * p), "scale: 0.001"),
    "camera in millimetres": ("millimetres", _camera(_in_millimetres), "last column"),
    "BGR": ("bgr", _images(lambda i: i[..., ::-1]), "[..., ::-1]"),
    "image mirrored": ("image_flipped", _images(lambda i: i[:, ::-1]), "flip: horizontal"),
    "image upside down": ("image_flipped", _images(lambda i: i[::-1]), "flip: vertical"),
    "image turned by 180": ("image_flipped", _images(lambda i: i[::-1, ::-1]), "flip: both"),
    "image halved without K": (
        "image_resized",
        _images(lambda i: cv2.resize(i, (SIZE // 2, SIZE // 2))),
        "by 0.500",
    ),
    "OpenGL camera axes": (
        "camera_axes",
        _camera(lambda T: T @ np.diag([1.0, -1.0, -1.0, 1.0])),
        "OpenGL",
    ),
    "world to camera": ("camera_inverse", _camera(np.linalg.inv), "invert it"),
    "poses 0.2 s late": ("lag", _later(2), "0.2"),
    "table at z = 0.8": ("table_height", _lifted(0.8), "table_height"),
    "camera looks aside": ("labels_outside", _aside, "sees the whole workspace"),
}
"""Fault -> what is found, how it is injected, what the mend says."""
