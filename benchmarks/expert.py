"""Can the task be done, and could a perfect policy do it?

    python benchmarks/expert.py [--quick] [task=NAME] [results_dir=results]

Writes <results_dir>/benchmarks/expert_<task>.json for every registered task, or the one that is
named; that of the main task is called expert.json.

For each of a task's robots and layouts, over the full 16 x 16 grid:
- expert: success of the scripted expert;
- replay: the poses and gripper commands of its frames, every 0.3 s, through the servo, open loop
  (what a policy without any error would do);
- the same with errors, in layout=together: a constant horizontal offset in a random direction, or
  noise on every waypoint;
- expert with 6 distractors.
Of tasks other than the main one, replay and clutter run at every fourth position.
For the main task also the reach of the arm for several places of its base.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.stats import binomtest  # noqa: E402

from envs.base import Environment, load_task  # noqa: E402
from envs.table import MAIN_TASK  # noqa: E402
from envs.table.expert import run_expert  # noqa: E402
from envs.table.reach import reach_errors, task_points  # noqa: E402
from envs.table.robots import BASE  # noqa: E402
from envs.table.task import table_tasks  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.executors import LocalExecutor, stateless  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware, versions  # noqa: E402

STRIDE = 3
"""Frames between replayed waypoints: 0.3 s."""
OFFSETS = (0.010, 0.015, 0.020)
NOISES = (0.005, 0.010)
"""Errors of the replay [m]."""
DISTRACTORS = 6


def replay(env: Environment, frames: list, errors: np.ndarray) -> bool:
    """Servo to every third frame; `errors` (N, 3) [m] are added to the positions."""
    for k, error in zip(range(STRIDE, len(frames) + STRIDE - 1, STRIDE), errors, strict=False):
        position, gripper, rotation = frames[min(k, len(frames) - 1)]
        env.servo_to(position + error, gripper, rotation=rotation)
        if env.done:
            break
    return env.outcome.success


def run_job(job: tuple[str, str, str, range]) -> list[tuple[str, bool, int]]:
    """(name, success, control steps) of every episode of some grid positions."""
    name, robot, layout, indices = job
    task = load_task(name)
    env = task.environment(robot, layout)
    rows = []

    def record(variant: str, run: Any) -> None:
        success = run()
        rows.append((variant, success, env.steps))

    for index in indices:
        condition = task.grid(index, layout)
        rng = np.random.default_rng(index)
        frames: list = []

        def expert(condition: Any = condition, frames: list = frames) -> bool:
            env.begin(condition)
            return run_expert(
                env, lambda e: frames.append((e.ee_position, e.gripper_command, e.target_rotation))
            )

        record("expert", expert)
        if name != MAIN_TASK and index % 4:
            continue
        variants: dict[str, np.ndarray] = {"replay": np.zeros((100, 3))}
        if layout == "together":
            angle = rng.uniform(0, 2 * np.pi)
            direction = np.array([np.cos(angle), np.sin(angle), 0.0])
            for size in OFFSETS:
                variants[f"replay, offset {size * 1e3:.0f} mm"] = np.tile(
                    size * direction, (100, 1)
                )
            for sigma in NOISES:
                variants[f"replay, noise {sigma * 1e3:.0f} mm"] = rng.normal(0, sigma, (100, 3))
        for variant, errors in variants.items():

            def again(condition: Any = condition, f: list = frames, e: Any = errors) -> bool:
                env.begin(condition)
                return replay(env, f, e)

            record(variant, again)
        cluttered = task.grid(index, layout, distractors=DISTRACTORS, seed=index)
        record(f"expert, {DISTRACTORS} distractors", lambda c=cluttered: expert(c, []))
    return rows


def summarise(rows: list[tuple[str, bool, int]]) -> dict[str, Any]:
    """Rate with n and its 95 % Wilson interval, and control steps, by name."""
    table = {}
    for name in dict.fromkeys(row[0] for row in rows):
        _, success, steps = zip(*(row for row in rows if row[0] == name), strict=True)
        interval = binomtest(sum(success), len(success)).proportion_ci(method="wilson")
        table[name] = {
            "n": len(success),
            "success": sum(success) / len(success),
            "wilson95": [round(interval.low, 4), round(interval.high, 4)],
            "steps_mean": round(float(np.mean(steps)), 1),
            "steps_max": max(steps),
        }
    return table


def reach() -> list[dict[str, Any]]:
    """Worst position error and joint margin over the workspace, by place of the base."""
    points, rows = task_points(load_task(MAIN_TASK), 3), []
    for x in (-0.42, -0.45, -0.48, -0.51, -0.55):
        for z in (0.0, 0.04, 0.08, 0.12):
            errors = reach_errors(points, np.array([x, BASE[1], z]))
            rows.append(
                {
                    "base": [x, float(BASE[1]), z],
                    "worst_mm": round(1e3 * errors[:, 0].max(), 2),
                    "within_2mm": round(float((errors[:, 0] < 0.002).mean()), 3),
                    "joint_margin_rad": round(float(errors[:, 2].min()), 3),
                }
            )
    return rows


def measure(name: str, quick: bool, results_dir: str) -> None:
    """All tables of a task, on two processes."""
    task = load_task(name)
    combinations = [(robot, layout) for robot in task.robots for layout in task.layouts]
    parts = [range(first, 256, 16) for first in range(1 if quick else 16)]
    jobs = [(name, robot, layout, part) for robot, layout in combinations for part in parts]
    done = dict(LocalExecutor(workers=2).run(stateless(run_job), jobs))
    tables = {}
    for robot, layout in combinations:
        mine = [row for job in jobs if job[1:3] == (robot, layout) for row in done[job]]
        tables[f"{robot}, {layout}"] = summarise(mine)
    for key, table in tables.items():
        for variant, row in table.items():
            low, high = row["wilson95"]
            print(
                f"{name:15} {key:20} {variant:24} {row['success']:6.1%} [{low:.1%}, {high:.1%}] "
                f"n={row['n']}  steps {row['steps_mean']:.0f} (max {row['steps_max']})"
            )
    if quick:
        return
    main_task = name == MAIN_TASK
    atomic_write_json(
        f"{results_dir}/benchmarks/expert{'' if main_task else f'_{name}'}.json",
        {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git": git_hash(),
            "hardware": hardware(),
            "versions": versions(),
            "task": name,
            "physics": task.version,
            "control_step_s": 0.02,
            "tables": tables,
        }
        | ({"reach": reach()} if main_task else {}),
    )


def main() -> None:
    """Measure one task, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="every 16th position, nothing written")
    arguments, overrides = parser.parse_known_args()
    cfg = load_config(CommonConfig, overrides)
    named = any(override.startswith("task=") for override in overrides)
    for name in [cfg.task.name] if named else table_tasks():
        measure(name, arguments.quick, cfg.results_dir)


if __name__ == "__main__":
    plainly(main)
