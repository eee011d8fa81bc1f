"""Frames per second of the renderer. Writes <results_dir>/benchmarks/render.json.

    python benchmarks/render.py [results_dir=results]

One process, whole frames (scene update, drawing, reading back) in the middle of an episode; then
frames of fixed and of varied looks, in turns.
"""

from __future__ import annotations

import datetime
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from envs.base import Environment, Task, load_task  # noqa: E402
from envs.episodes import FIXED, VARIED  # noqa: E402
from envs.table import MAIN_TASK  # noqa: E402
from envs.table.rendering import PRESETS  # noqa: E402
from envs.table.robots import ROBOTS  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware, versions  # noqa: E402

SIZES = (128, 224, 448)
SECONDS = 3.0
LOOKS, TURNS, FRAMES = 3, 20, 10
"""Varied looks, turns of each and of the fixed one, and frames a turn."""


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


def varied_looks(task: Task, size: int) -> dict[str, float]:
    """What a frame of varied looks takes [ms], and how often the time of one of fixed looks."""
    start = task.grid(119)
    looks = [replace(start, appearance=VARIED, look=k) for k in range(LOOKS)]
    times: dict[str, list[float]] = {FIXED: [], VARIED: []}
    envs = [task.environment("panda", "together") for _ in (start, *looks)]
    for env, condition in zip(envs, (start, *looks), strict=True):
        env.begin(condition)
        env.frame("fast", size)  # makes the renderer
    for _ in range(TURNS):
        for env in envs:
            begin = time.perf_counter()
            for _ in range(FRAMES):
                env.frame("fast", size)
            took = 1000 * (time.perf_counter() - begin) / FRAMES
            times[env.condition.appearance].append(took)
    fixed, varied = (statistics.median(times[kind]) for kind in (FIXED, VARIED))
    return {
        "size": size,
        "n": len(times[VARIED]),
        "fixed_ms": round(fixed, 2),
        "varied_ms": round(varied, 2),
        "ratio": round(varied / fixed, 2),
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
            "looks": [varied_looks(task, size) for size in SIZES],
        },
    )


if __name__ == "__main__":
    plainly(main)
