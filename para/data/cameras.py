"""Calibration files: cameras.json, which scripts/calibrate.py writes and imports read.

    {"front": {"width": 640, "height": 480, "intrinsics": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
               "T_world_camera": [[...], [...], [...], [0, 0, 0, 1]], "pixel_centre": 0.5,
               "distortion": [k1, k2, p1, p2, k3]}}

One camera may stand without a name. Conventions are those of `para.camera.Camera`. `pixel_centre`
says where the centre of the first pixel is: 0.5 (ours, the usual one if it is left away) or 0
(OpenCV's, ROS's). `distortion` (OpenCV's five numbers) is taken out of the images when they are
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from para.camera import Camera, CameraError
from para.errors import DataError, UnknownNameError, one_line
from para.files import atomic_write_json, read_json
from para.records import Record

_WAY_ON = "docs/robot.md says what a calibration file holds."


class _CameraRecord(Record):
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    intrinsics: list[list[float]] = Field(min_length=3, max_length=3)
    T_world_camera: list[list[float]] = Field(min_length=4, max_length=4)
    pixel_centre: float = Field(0.5, ge=0, le=0.5)
    distortion: list[float] = Field([], max_length=14)


@dataclass(frozen=True)
class Calibrated:
    """A camera of a calibration file.

    Attributes:
        name: Its name; "" for one without.
        camera: Of images without distortion, our pixel convention.
        distortion: OpenCV's coefficients; empty for none.
    """

    name: str
    camera: Camera
    distortion: tuple[float, ...] = ()

    def require_size(self, width: int, height: int, where: str) -> None:
        """Raise `DataError` unless images have the size that the calibration is for."""
        if (width, height) != (self.camera.width, self.camera.height):
            raise DataError(
                f"{where} has images of {width} x {height} px, but its camera was calibrated for "
                f"{self.camera.width} x {self.camera.height}: K belongs to one size. Give the "
                "camera of these images (an image that is resized by s has s * K; one that is cut "
                "has another cx, cy)."
            )

    def undistorted(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) without the distortion of its lens; the camera stays."""
        if not any(self.distortion):
            return image
        K = self.camera.intrinsics.copy()
        K[:2, 2] -= 0.5  # OpenCV counts pixels from the centre of the first
        return cv2.undistort(image, K, np.array(self.distortion))


def read_cameras(path: Path | str) -> dict[str, Calibrated]:
    """The cameras of a calibration file, by name.

    Raises:
        DataError: It is missing or damaged, or what it holds is no camera.
    """
    path = Path(path)
    value = read_json(path, DataError, _WAY_ON)
    if "intrinsics" in value or "T_world_camera" in value:
        value = {"": value}
    if not value:
        raise DataError(f"{path} has no camera. {_WAY_ON}")
    return {name: _camera(path, name, entry) for name, entry in value.items()}


def choose_camera(cameras: dict[str, Calibrated], name: str | None, path: Path) -> Calibrated:
    """The camera of this name, or the only one."""
    if name is None:
        if len(cameras) > 1:
            raise DataError(
                f"{path} has several cameras: choose one with camera=NAME. Available: "
                f"{', '.join(sorted(cameras))}."
            )
        return next(iter(cameras.values()))
    if name not in cameras:
        raise UnknownNameError(f"camera in {path}:", name, cameras)
    return cameras[name]


def write_cameras(path: Path | str, cameras: dict[str, Camera], **facts: dict[str, Any]) -> None:
    """Write a calibration file; `facts`: further entries of each camera, by its name."""
    atomic_write_json(
        path,
        {
            name: {
                "width": camera.width,
                "height": camera.height,
                "intrinsics": np.asarray(camera.intrinsics).tolist(),
                "T_world_camera": np.asarray(camera.T_world_camera).tolist(),
                **facts.get(name, {}),
            }
            for name, camera in cameras.items()
        },
    )


def _camera(path: Path, name: str, entry: Any) -> Calibrated:
    called = f"camera {one_line(name)!r}" if name else "the camera"
    try:
        record = _CameraRecord.check(entry)
        K, T = np.array(record.intrinsics), np.array(record.T_world_camera)
        K[:2, 2] += 0.5 - record.pixel_centre
        camera = Camera(K, T, record.width, record.height).validate()
    except (ValueError, CameraError) as error:
        raise DataError(f"{path}: {called}: {one_line(error, 300)}. {_WAY_ON}") from error
    return Calibrated(name, camera, tuple(record.distortion))
