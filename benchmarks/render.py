"""Frames per second of the renderer. Writes <results_dir>/benchmarks/render.json.

    python benchmarks/render.py [results_dir=results]

One process, whole frames (scene update, drawing, reading back) in the middle of an episode.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from envs.base import Environment, load_task  # noqa: E402
from envs.table import MAIN_TASK  # noqa: E402
from envs.table.rendering import PRESETS  # noqa: E402
from envs.table.robots import ROBOTS  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware, versions  # noqa: E402

SIZES = (128, 224, 448)
SECONDS = 3.0


def frames_per_second(env: Environment, preset: str, size: int) -> dict[str, float]:
    """By the clock, and by the CPU time of this process (all its threads)."""
    env.frame(preset, size)  # makes the renderer
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SECONDS or count < 3:
        env.frame(preset, size)
        count += 1
    return {
        "fps": round(count / (time.perf_counter() - wall), 1),
        "fps_per_cpu": round(count / (time.process_time() - cpu), 1),
    }


def main() -> None:
    """Measure every robot, preset and size."""
    results_dir = load_config(CommonConfig, sys.argv[1:]).results_dir
    rows, task = [], load_task(MAIN_TASK)
    for robot in ROBOTS:
        env = task.environment(robot, "together")
        env.begin(task.grid(119))
        for _ in range(50):
            env.control_step(np.array([0.0, 0.0, 0.12]), 1.0)
        for preset in PRESETS:
            for size in SIZES:
                row = {"robot": robot, "preset": preset, "size": size}
                row |= frames_per_second(env, preset, size)
                rows.append(row)
                print(f"{robot:6} {preset:7} {size:4} px  {row['fps']:7.1f} fps")
    atomic_write_json(
        f"{results_dir}/benchmarks/render.json",
        {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git": git_hash(),
            "backend": os.environ.get("MUJOCO_GL", ""),
            "hardware": hardware(),
            "versions": versions(),
            "load_average": round(os.getloadavg()[0], 1),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    plainly(main)
