"""A plain folder: images, poses.csv and cameras.json.

poses.csv   a row per frame, in any order of columns:
            episode, time [s], image (path below the folder), x, y, z [m],
            qw, qx, qy, qz   or   roll, pitch, yaw (extrinsic xyz [rad])   or neither: down
            gripper (1 = open), gripper_command, camera, instruction: may be missing
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from para.data.cameras import Calibrated, choose_camera, read_cameras
from para.data.mapping import MappingConfig, Part, poses_of
from para.data.sources.recording import Recording
from para.errors import DataError, UnknownNameError, one_line
from para.files import not_a_file, read_text

POSES, CAMERAS = "poses.csv", "cameras.json"
NEEDED = ("episode", "time", "image", "x", "y", "z")
QUATERNION, EULER = ("qw", "qx", "qy", "qz"), ("roll", "pitch", "yaw")
KNOWN = (*NEEDED, *QUATERNION, *EULER, "gripper", "gripper_command", "camera", "instruction")


def read_folder(path: Path, cameras: Path | None, camera: str | None) -> Iterator[Recording]:
    """The recordings of a folder, by episode.

    Args:
        path: The folder.
        cameras: Calibration file; None: cameras.json of the folder.
        camera: Name of the camera whose frames are taken; None: the one that there is.

    Raises:
        DataError: A file is missing, or says something that cannot be.
    """
    rows = _rows(path / POSES)
    known = read_cameras(cameras or path / CAMERAS)
    if "camera" in rows[0]:
        if camera is not None:
            rows = [row for row in rows if row["camera"] == camera]
        named = sorted({row["camera"] for row in rows})
        if len(named) != 1:
            there = ", ".join(named) or "none of that name"
            raise DataError(f"{path / POSES} has frames of several cameras, or none: {there}. "
                            "Choose one with camera=NAME.")  # fmt: skip
        camera = named[0]
    chosen = choose_camera(known, camera, cameras or path / CAMERAS)
    episodes: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        episodes.setdefault(row["episode"], []).append(row)
    for name in sorted(episodes, key=_order):
        yield _recording(path, name, episodes[name], chosen)


def _order(name: str) -> tuple[int, Any]:
    return (0, int(name)) if name.isdecimal() else (1, name)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path)), skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = list(reader)
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} {one_line(error)}. docs/robot.md says what it holds.") from error
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}. It has: "
            f"{', '.join(columns) or 'none'}."
        )
    for turn in (QUATERNION, EULER):
        if 0 < sum(name in columns for name in turn) < len(turn):
            raise DataError(f"{path} has some of the columns {', '.join(turn)}, not all of them.")
    if unknown := [name for name in columns if name not in KNOWN]:
        raise UnknownNameError(f"column in {path}:", unknown[0], KNOWN)
    if not rows:
        raise DataError(f"{path} has no rows: it is an empty set.")
    return rows


def _recording(
    path: Path, name: str, rows: Sequence[dict[str, str]], camera: Calibrated
) -> Recording:
    where = f"{path / POSES}, episode {one_line(name)}"

    def numbers(*columns: str) -> np.ndarray:
        try:
            return np.array([[float(row[column]) for column in columns] for row in rows])
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where}: {', '.join(columns)}: {one_line(error)}: numbers are needed."
            ) from error

    columns = rows[0].keys()
    arrays = {"position": numbers("x", "y", "z")}
    mapping = MappingConfig(position=Part("position"))
    if "qw" in columns:
        arrays["rotation"] = numbers(*QUATERNION)
        mapping.rotation, mapping.rotation_is = Part("rotation"), "quaternion_wxyz"
    elif "roll" in columns:
        arrays["rotation"] = numbers(*EULER)
        mapping.rotation, mapping.rotation_is = Part("rotation"), "euler_xyz"
    for column, key in (("gripper", "gripper"), ("gripper_command", "command")):
        if column in columns:
            arrays[key] = numbers(column)
            setattr(mapping, key, Part(key))
    count = len(rows)
    return Recording(
        where=where,
        times=numbers("time")[:, 0],
        images=partial(_images, path, [row["image"] or "" for row in rows], camera),
        arrays={
            **poses_of(mapping, arrays, {}, where),
            "obs/intrinsics": np.tile(camera.camera.intrinsics, (count, 1, 1)),
            "obs/T_world_camera": np.tile(camera.camera.T_world_camera, (count, 1, 1)),
        },
        instruction=(rows[0].get("instruction") or "").strip(),
    )


def _images(
    path: Path, names: Sequence[str], camera: Calibrated, which: Sequence[int]
) -> Iterator[np.ndarray]:
    for number in which:
        file = path / names[number]
        if not file.resolve().is_relative_to(path.resolve()):
            raise DataError(f"{path / POSES}: image {one_line(names[number])} lies outside {path}.")
        if reason := not_a_file(file):
            raise DataError(f"{path / POSES}: image {file} {reason}.")
        bgr = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is None:
            raise DataError(f"{file} is no image that can be read.")
        camera.require_size(bgr.shape[1], bgr.shape[0], str(file))
        yield camera.undistorted(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
