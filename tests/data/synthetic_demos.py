"""Small made-up demos: no simulator, but real geometry."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from envs.base import TASKS, EnvConfig, build_task
from envs.table import PHYSICS
from para import __version__
from para.camera import Camera
from para.data.format import Episode, EpisodeMeta, encode_image, episode_path, write_episode
from para.data.plan import planned

SIZE = 64
TASK = build_task(TASKS.load("bowl_on_plate"))


def camera(size: int = SIZE) -> Camera:
    """The default view of the workspace."""
    return Camera.look_at((0.96, 0.0, 1.15), (0, 0, 0), 45, size, size)


def make_episode(index: int, frames: int = 20, size: int = SIZE, success: bool = True) -> Episode:
    """An end effector that moves on a straight line over the table; images are smooth noise.

    The start is that of episode `index` of the data set objpos.
    """
    rng = np.random.default_rng(index)
    start, end = rng.uniform([-0.15, -0.25, 0.02], [0.15, 0.25, 0.25], (2, 3))
    path = start + (end - start) * np.linspace(0, 1, frames)[:, None]
    view = camera(size)
    down = np.tile([0.0, 1.0, 0.0, 0.0], (frames, 1))
    gripper = np.where(np.arange(frames) < frames // 2, 1.0, 0.0)
    row, column = np.mgrid[:size, :size] / size
    images = [
        np.stack([255 * row, 255 * column, np.full((size, size), (7 * index + 3 * t) % 256)], -1)
        for t in range(frames)
    ]
    meta = EpisodeMeta(
        index=index,
        seed=index,
        dataset="objpos",
        task={"name": "bowl_on_plate", "kind": "bowl_on_plate"},
        robot="panda",
        layout="together",
        condition=planned("objpos", TASK, "together", index, EnvConfig()).condition.to_dict(),
        env=dataclasses.asdict(EnvConfig(image_size=size)),
        success=success,
        num_samples=frames,
        environment_version=PHYSICS,
        code_version=__version__,
        mujoco_version="none",
    )
    arrays = {
        "actions": np.column_stack([path, gripper]),
        "obs/ee_pose": np.column_stack([path, down]),
        "obs/gripper": gripper,
        "obs/objects/bowl": np.column_stack([path, down]),
        "obs/objects/plate": np.column_stack([path, down]),
        "obs/intrinsics": np.broadcast_to(view.intrinsics, (frames, 3, 3)),
        "obs/T_world_camera": np.broadcast_to(view.T_world_camera, (frames, 4, 4)),
    }
    return Episode(meta, [encode_image(image.astype(np.uint8)) for image in images], arrays)


def make_dataset(folder: Path, episodes: int = 4, frames: int = 20, size: int = SIZE) -> Path:
    """Write `episodes` synthetic episodes and return the folder."""
    for index in range(episodes):
        write_episode(episode_path(folder, index), make_episode(index, frames, size))
    return folder
