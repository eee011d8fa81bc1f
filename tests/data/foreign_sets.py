"""Data sets as others record them, made of synthetic demos: a folder, and robomimic's HDF5."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import h5py
import numpy as np
from synthetic_demos import camera, make_episode

from para.data.format import Episode


def camera_file(path: Path, size: int = 64, **changes: object) -> Path:
    """A calibration file of the synthetic demos' camera."""
    view = camera(size)
    entry = {
        "width": size,
        "height": size,
        "intrinsics": view.intrinsics.tolist(),
        "T_world_camera": view.T_world_camera.tolist(),
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"front": {k: v for k, v in entry.items() if v is not None}}))
    return path


def folder_set(folder: Path, episodes: int = 3, frames: int = 12, rate: float = 10.0) -> Path:
    """Images, poses.csv and cameras.json."""
    (folder / "images").mkdir(parents=True)
    camera_file(folder / "cameras.json")
    rows = []
    for k in range(episodes):
        episode = make_episode(k, frames)
        for t, image in enumerate(episode.images()):
            name = f"images/{k:02d}_{t:03d}.png"
            cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            x, y, z, qw, qx, qy, qz = (float(v) for v in episode.arrays["obs/ee_pose"][t])
            rows.append(
                {"episode": k, "time": t / rate, "image": name, "x": x, "y": y, "z": z}
                | {"qw": qw, "qx": qx, "qy": qy, "qz": qz}
                | {"gripper": float(episode.arrays["obs/gripper"][t])}
                | {"gripper_command": float(episode.arrays["actions"][t, 3])}
            )
    write_rows(folder, rows)
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of poses.csv."""
    with open(folder / "poses.csv", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(folder: Path, rows: list[dict]) -> None:
    """Write poses.csv."""
    with open(folder / "poses.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def hdf5_set(path: Path, episodes: int = 2, frames: int = 24, table: float = 0.8) -> Path:
    """A file as robomimic writes them: 20 Hz, quaternions x, y, z, w, a table 0.8 m high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "robomimic"
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        for k in range(episodes):
            episode: Episode = make_episode(k, frames)
            pose = episode.arrays["obs/ee_pose"]
            command = np.where(episode.arrays["actions"][:, 3] > 0.5, -1.0, 1.0)
            demo = data.create_group(f"demo_{k}")
            demo["actions"] = np.column_stack([np.zeros((frames, 6)), command])
            demo["obs/agentview_image"] = episode.images()
            demo["obs/robot0_eef_pos"] = pose[:, :3] + [0, 0, table]
            demo["obs/robot0_eef_quat"] = pose[:, [4, 5, 6, 3]]
            opening = 0.04 * episode.arrays["obs/gripper"]
            demo["obs/robot0_gripper_qpos"] = np.column_stack([opening, -opening])
    return path
