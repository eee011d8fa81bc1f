"""Calibration from files: scripts/calibrate.py."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
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

DICTIONARY = cv2.aruco.DICT_4X4_50


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
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARY)
        shape = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(shape, self.square, 0.75 * self.square, dictionary)

    def corners(self) -> np.ndarray:
        """(M, 3) inner corners by their numbers, z = 0 [m]."""
        return np.asarray(self.board().getChessboardCorners(), np.float64)


@dataclass
class MarkerConfig:
    """An ArUco marker (OpenCV's, dictionary 4x4_50) that the hand carries."""

    index: int = number(0, least=0, most=49)
    """Which of the dictionary's."""
    offset: list[float] = number([0.0, 0.0, 0.0], least=-1, most=1)
    """Where its middle is in the frame of the hand's poses [m]."""


@dataclass
class CalibrateConfig(CommonConfig):
    """scripts/calibrate.py"""

    script: ClassVar[str] = "calibrate"

    source: str = choice("board", ("board", "marker", "points"))
    """board: images of a ChArUco board in the hand, and poses.csv (image, x, y, z, qw, qx, qy, qz
    of the hand) | marker: the same of a single marker, such as a recording of demos | points:
    points.csv (x, y, z of the tool centre in the world, u, v its pixel)."""
    path: str = ""
    """Folder with the files."""
    name: str = word("front")
    """What the camera is called."""
    cameras: str | None = None
    """Calibration file with intrinsics that are known (points, marker); null: they are
    estimated."""
    size: list[int] = number([640, 480], least=16, most=8192)
    """Width and height of the images, for points without cameras= [px]."""
    board: BoardConfig = field(default_factory=BoardConfig)
    marker: MarkerConfig = field(default_factory=MarkerConfig)
    out: str | None = None
    """Calibration file to write; null: cameras.json in the folder."""

    def rules(self, key: str, run: Any) -> None:
        """There are files."""
        require(bool(self.path), "path= names no folder: give path=FOLDER.")
        require(len(self.size) == 2, f"size={self.size} must be [width,height].")
        require(
            self.cameras is None or self.source != "board",
            "cameras= is for source=points and marker: a board shows the intrinsics itself.",
        )
        require(
            len(self.marker.offset) == 3,
            f"marker.offset={self.marker.offset} must be [x,y,z].",
        )


def calibrate(cfg: CalibrateConfig) -> tuple[Calibration, Path]:
    """Calibrate from the files in `cfg.path`, and write the calibration file.

    Raises:
        DataError: Files are missing, or show too little.
    """
    folder = Path(cfg.path)
    sources = {"board": _from_board, "marker": _from_marker, "points": _from_points}
    found = sources[cfg.source](cfg, folder)
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
    return _calibrated(cfg, numbers[:, :3].copy(), numbers[:, 3:].copy(), None)


def _from_marker(cfg: CalibrateConfig, folder: Path) -> Calibration:
    """The marker's middle, found in every image, is a point of the hand."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARY), parameters)
    points, pixels, count, size = [], [], 0, (0, 0)
    for image, T in _views(folder):
        count, size = count + 1, (image.shape[1], image.shape[0])
        corners, numbers, _ = detector.detectMarkers(image)
        found = [] if numbers is None else numbers.ravel().tolist()
        if found.count(cfg.marker.index) != 1:  # unseen, or a second one somewhere
            continue
        square = corners[found.index(cfg.marker.index)].reshape(4, 2).astype(np.float64)
        points.append(T[:3, :3] @ cfg.marker.offset + T[:3, 3])
        pixels.append(_middle(square) + 0.5)
    if len(points) < 12:
        raise DataError(
            f"{folder}: marker {cfg.marker.index} of OpenCV's dictionary 4x4_50 is found in "
            f"{len(points)} of {count} images, and 12 are needed: print it larger, with a white "
            "border, and turn it towards the camera."
        )
    return _calibrated(cfg, np.array(points), np.array(pixels), size)


def _from_board(cfg: CalibrateConfig, folder: Path) -> Calibration:
    detector = cv2.aruco.CharucoDetector(cfg.board.board())
    hands, seen, size = [], [], (0, 0)
    for image, T in _views(folder):
        size = (image.shape[1], image.shape[0])
        corners, numbers, _, _ = detector.detectBoard(image)
        if numbers is None or len(numbers) < 6:
            continue
        hands.append(T)
        seen.append((numbers.ravel(), corners.reshape(-1, 2).astype(np.float64) + 0.5))
    return calibrate_board(cfg.board.corners(), np.array(hands), seen, size)


def _views(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Grey images (H, W), all of a size, and the hand's poses (4, 4), of poses.csv."""
    columns = ("x", "y", "z", "qw", "qx", "qy", "qz")
    rows = _table(folder / "poses.csv", ("image", *columns))
    poses = _numbers(folder / "poses.csv", rows, columns)
    shape = None
    for row, pose in zip(rows, poses, strict=True):
        image = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DataError(f"{folder / row['image']} is no image that can be read.")
        shape = shape or image.shape
        if image.shape != shape:
            sizes = f"{shape[::-1]}, {image.shape[::-1]}"
            raise DataError(f"{folder}: images differ in size ({sizes}).")
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(pose[3:], scalar_first=True).as_matrix()
        T[:3, 3] = pose[:3]
        yield image, T


def _calibrated(
    cfg: CalibrateConfig, points: np.ndarray, pixels: np.ndarray, size: tuple[int, int] | None
) -> Calibration:
    """From points; with the intrinsics of `cfg.cameras` if it names some."""
    if not cfg.cameras:
        return calibrate_points(points, pixels, size or (cfg.size[0], cfg.size[1]))
    known = read_cameras(cfg.cameras)
    one = choose_camera(known, cfg.name if cfg.name in known else None, Path(cfg.cameras)).camera
    theirs = one.width, one.height
    if size and size != theirs:
        raise DataError(
            f"{cfg.cameras} is of images of {theirs[0]} x {theirs[1]} px, and these have "
            f"{size[0]} x {size[1]}: a calibration holds for one size."
        )
    return calibrate_points(points, pixels, theirs, one.intrinsics)


def _middle(square: np.ndarray) -> np.ndarray:
    """Where the diagonals of a square seen at an angle (4, 2) meet: its middle, unlike the mean."""
    first, second = square[2] - square[0], square[3] - square[1]
    along = np.linalg.solve(np.stack([first, -second], 1), square[1] - square[0])
    return square[0] + along[0] * first


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
