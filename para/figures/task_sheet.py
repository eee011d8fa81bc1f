"""Every task of the registry done by its scripted expert: one row of moments each.

python -m para.figures.task_sheet     draws docs/tasks.png anew
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
from para.video import draw_text, write_picture

SIDE, GAP, MOMENTS = 320, 6, 6
"""Of a frame and between frames [px]; frames in a row."""
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
    draw_text(row, name, (10, 8), size=18, bold=True, outline=2)
    return row


def task_sheet(path: Path) -> Path:
    """Draw the rows of all tasks below each other."""
    rows = [task_row(name) for name in table_tasks()]
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return write_picture(path, np.concatenate([part for row in rows for part in (row, gap)][:-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m para.figures.task_sheet", description="Every task, done by its expert."
    )
    parser.add_argument("path", type=Path, nargs="?", default=ROOT / "docs" / "tasks.png")
    task_sheet(parser.parse_args(arguments).path)


if __name__ == "__main__":
    main()
