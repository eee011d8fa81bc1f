"""Every task of the registry done by its scripted expert: one picture of some moments each.

python -m para.figures.task_sheet     draws docs/tasks/<task>.png anew
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs.base import EnvConfig, Environment, load_task
from envs.table.expert import run_expert
from envs.table.task import table_tasks
from para.places import ROOT
from para.video import write_picture

SIDE, GAP, MOMENTS = 256, 6, 3
"""Of a frame and between frames [px]; frames in a row: as many as are seen in a cell of a table."""
CAMERA = EnvConfig(image_size=SIDE, camera_distance=1.05)
"""Nearer than the policies' camera, so that small objects are seen."""
START = 0
"""Seed of the start that is shown, and of no importance."""


def task_row(name: str, robot: str = "panda") -> np.ndarray:
    """Moments of an expert's episode, at equal distances in time: (SIDE, width, 3) uint8 RGB.

    Args:
        name: Of the task (configs/task).
        robot: One of the task's.
    """
    task = load_task(name)
    layout = task.layouts[-1]  # the usual one comes first, the freest last
    env = task.environment(robot, layout, CAMERA)
    env.begin(task.random(np.random.default_rng(START), layout))
    frames: list[np.ndarray] = []

    def keep(env: Environment) -> None:
        frames.append(env.frame("beauty"))

    run_expert(env, on_frame=keep)
    keep(env)
    chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int)]
    row = np.full((SIDE, MOMENTS * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for column, frame in enumerate(chosen):
        row[:, column * (SIDE + GAP) :][:, :SIDE] = frame
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m para.figures.task_sheet", description="Every task, done by its expert."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "tasks")
    folder = parser.parse_args(arguments).folder
    for name in table_tasks():
        write_picture(folder / f"{name}.png", task_row(name))


if __name__ == "__main__":
    main()
