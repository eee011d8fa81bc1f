"""Calibration from files: scripts/calibrate.py."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from para.common import CommonConfig
from para.data.calibration import Calibration, calibrate_board, calibrate_points
from para.data.cameras import choose_camera, read_cameras, write_cameras
from para.errors import DataError, one_line
from para.fields import choice, number, require, word
from para.files import read_text


@dataclass
class BoardConfig:
    """A ChArUco board (OpenCV's, dictionary 4x4_50)."""

    columns: int = number(7, least=3, most=50)
    rows: int = number(5, least=3, most=50)
    """Squares along its sides."""
    square: float = number(0.03, above=0, most=1)
    """Side of a square [m]; of a marker: three quarters of it."""

    def board(self) -> Any:
        """OpenCV's board."""
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        shape = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(shape, self.square, 0.75 * self.square, dictionary)

    def corners(self) -> np.ndarray:
        """(M, 3) inner corners by their numbers, z = 0 [m]."""
        return np.asarray(self.board().getChessboardCorners(), np.float64)


@dataclass
class CalibrateConfig(CommonConfig):
    """scripts/calibrate.py"""

    script: ClassVar[str] = "calibrate"

    source: str = choice("board", ("board", "points"))
    """board: images of a ChArUco board in the hand, and poses.csv (image, x, y, z, qw, qx, qy, qz
    of the hand) | points: points.csv (x, y, z of the tool centre in the world, u, v its pixel)."""
    path: str = ""
    """Folder with the files."""
    name: str = word("front")
    """What the camera is called."""
    cameras: str | None = None
    """Calibration file with intrinsics that are known (points); null: they are estimated."""
    size: list[int] = number([640, 480], least=16, most=8192)
    """Width and height of the images, for points without cameras= [px]."""
    board: BoardConfig = field(default_factory=BoardConfig)
    out: str | None = None
    """Calibration file to write; null: cameras.json in the folder."""

    def rules(self, key: str, run: Any) -> None:
        """There are files."""
        require(bool(self.path), "path= names no folder: give path=FOLDER.")
        require(len(self.size) == 2, f"size={self.size} must be [width,height].")
        require(
            self.cameras is None or self.source == "points",
            "cameras= is for source=points: a board shows the intrinsics itself.",
        )


def calibrate(cfg: CalibrateConfig) -> tuple[Calibration, Path]:
    """Calibrate from the files in `cfg.path`, and write the calibration file.

    Raises:
        DataError: Files are missing, or show too little.
    """
    folder = Path(cfg.path)
    found = _from_board(cfg, folder) if cfg.source == "board" else _from_points(cfg, folder)
    path = Path(cfg.out) if cfg.out else folder / "cameras.json"
    facts = {
        "error_px": found.error_px,
        "error_mm": found.error_mm,
        "points": found.points,
        "covariance": found.covariance.tolist(),
    }
    write_cameras(path, {cfg.name: found.camera}, **{cfg.name: facts})
    return found, path


def report(found: Calibration, path: Path) -> str:
    """A few lines for people."""
    fx, fy, cx, cy = found.deviations[:4]
    turn = np.degrees(found.deviations[4:7]).max()
    shift = 1e3 * found.deviations[7:].max()
    K = found.camera.intrinsics
    return "\n".join(
        [
            f"{path}: {found.points} pixels, reprojection error {found.error_px:.2f} px "
            f"({found.error_mm:.1f} mm).",
            f"fx {K[0, 0]:.1f} +- {fx:.1f}, fy {K[1, 1]:.1f} +- {fy:.1f}, cx {K[0, 2]:.1f} +- "
            f"{cx:.1f}, cy {K[1, 2]:.1f} +- {cy:.1f} px.",
            f"Pose: standard deviation at most {turn:.2f} deg and {shift:.1f} mm.",
        ]
    )


def _from_points(cfg: CalibrateConfig, folder: Path) -> Calibration:
    rows = _table(folder / "points.csv", ("x", "y", "z", "u", "v"))
    numbers = _numbers(folder / "points.csv", rows, ("x", "y", "z", "u", "v"))
    K, size = None, (cfg.size[0], cfg.size[1])
    if cfg.cameras:
        known = read_cameras(cfg.cameras)
        one = choose_camera(known, cfg.name if cfg.name in known else None, Path(cfg.cameras))
        K, size = one.camera.intrinsics, (one.camera.width, one.camera.height)
    return calibrate_points(numbers[:, :3].copy(), numbers[:, 3:].copy(), size, K)


def _from_board(cfg: CalibrateConfig, folder: Path) -> Calibration:
    columns = ("x", "y", "z", "qw", "qx", "qy", "qz")
    rows = _table(folder / "poses.csv", ("image", *columns))
    poses = _numbers(folder / "poses.csv", rows, columns)
    detector = cv2.aruco.CharucoDetector(cfg.board.board())
    hands, seen, size = [], [], (0, 0)
    for row, pose in zip(rows, poses, strict=True):
        image = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DataError(f"{folder / row['image']} is no image that can be read.")
        if size not in ((0, 0), image.shape[::-1]):
            raise DataError(f"{folder}: images differ in size ({size}, {image.shape[::-1]}).")
        size = (image.shape[1], image.shape[0])
        corners, numbers, _, _ = detector.detectBoard(image)
        if numbers is None or len(numbers) < 6:
            continue
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(pose[3:], scalar_first=True).as_matrix()
        T[:3, 3] = pose[:3]
        hands.append(T)
        seen.append((numbers.ravel(), corners.reshape(-1, 2).astype(np.float64) + 0.5))
    return calibrate_board(cfg.board.corners(), np.array(hands), seen, size)


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path)), skipinitialspace=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} {one_line(error)}.") from error
    there = list(rows[0]) if rows else []
    if missing := [name for name in columns if name not in there]:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}. It has: "
            f"{', '.join(map(str, there)) or 'no rows'}."
        )
    return rows


def _numbers(path: Path, rows: list[dict[str, str]], columns: Sequence[str]) -> np.ndarray:
    try:
        values = np.array([[float(row[name]) for name in columns] for row in rows])
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {one_line(error)}: numbers are needed.") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path} has a number that is NaN or infinite.")
    return values
