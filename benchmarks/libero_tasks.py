"""LIBERO: can the expert do the ten tasks, and what does a step cost?

    python benchmarks/libero_tasks.py [--starts N] [--swapped M] [task=NAME] [results_dir=results]

Writes <results_dir>/benchmarks/libero.json: per task the expert's success on N official starts
(50: all of them), control steps and CPU seconds an episode, the same on M starts of LIBERO-PRO's
swapped scene, and how far each object has moved in it; of task 0 CPU time of a control step, of
robosuite's own step, of a picture of 128 px and of a reset, episodes a minute with and without
pictures (10 a second of simulated time), and memory. All of one process. What is not measured (with
task=NAME the other tasks; --starts 0; --swapped 0) stays as the file has it; each row tells the
commit that it was measured with.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.base import EnvConfig, load_task
from envs.libero.env import LiberoEnv
from envs.libero.splits import STATES, SWAPPED
from envs.libero.task import LiberoTask, libero_tasks
from envs.table.expert import run_expert
from para.errors import ResultError
from para.evaluation.config import EvalConfig
from para.files import atomic_write_json, read_json
from para.statistics import Rate
from para.system import git_hash, provenance, versions

REPEATS = 100
EPISODES = 10
"""Of the expert, with and without pictures."""


def environment(name: str) -> LiberoEnv:
    """Of a task, with its official starts."""
    return load_task(name).environment("panda", "official", EnvConfig())


def expert(env: LiberoEnv, starts: int, suite: str) -> dict[str, Any]:
    """Success of the expert on the first initial states of a task's scene in a suite."""
    begin = time.process_time()
    good, steps, failed = [], [], []
    for index in range(starts):
        env.begin(env.task.official(index, suite))
        good.append(run_expert(env))
        steps.append(env.steps)
        if not good[-1]:
            failed.append(index)
    rate = Rate.of(good)
    return {
        "instruction": env.task.instruction,
        "successes": int(sum(good)),
        "n": starts,
        "interval": [*rate.interval],
        "failed": failed,
        "steps": float(np.mean(steps)),
        "cpu_seconds": (time.process_time() - begin) / starts,
        "sources": env.task.sources([f"{suite}/0"]),
        "git": git_hash(),
    }


def shifts(task: LiberoTask, suite: str) -> dict[str, float]:
    """Distance [m] between the mean places of each object in two suites' initial states."""

    def places(where: str, item: str) -> np.ndarray:
        return np.mean([task.official(k, where).at(item) for k in range(STATES)], 0)

    usual = task.cfg.suite
    return {
        item.name: float(np.linalg.norm(places(suite, item.name) - places(usual, item.name)))
        for item in task.objects
    }


def cpu_ms(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """CPU time of a call [ms]."""
    call()
    begin = time.process_time()
    for _ in range(repeats):
        call()
    return 1000 * (time.process_time() - begin) / repeats


def per_minute(env: LiberoEnv, on_frame: Callable[[LiberoEnv], Any] | None = None) -> float:
    """Episodes of the expert in a minute of CPU time."""
    begin = time.process_time()
    for index in range(EPISODES):
        env.begin(env.task.official(index))
        run_expert(env, on_frame)
    return 60 * EPISODES / (time.process_time() - begin)


def speed(env: LiberoEnv) -> dict[str, float]:
    """CPU times [ms], episodes a minute and memory [GB] of one environment."""
    start = env.task.official(0)
    env.begin(start)
    goal = env.ee_position
    own = cpu_ms(lambda: env.control_step(goal, 1.0))
    bare = cpu_ms(env.sim.bare_step)
    return {
        "control_step_ms": own,
        "robosuite_step_ms": bare,
        "ratio": own / bare,
        "picture_128px_ms": cpu_ms(env.frame, 20),
        "reset_ms": cpu_ms(lambda: env.begin(start), 10),
        "episodes_per_minute": per_minute(env),
        "episodes_per_minute_with_pictures": per_minute(env, LiberoEnv.frame),
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="LIBERO's expert and speed.")
    parser.add_argument("--starts", type=int, default=STATES)
    parser.add_argument("--swapped", type=int, default=STATES // 2)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    said = dict(word.split("=", 1) for word in arguments.words)
    names = [said["task"]] if "task" in said else libero_tasks()
    path = Path(said.get("results_dir", EvalConfig.results_dir)) / "benchmarks" / "libero.json"
    before = read_json(path, ResultError) if path.exists() else {}
    made: dict[str, Any] = {"tasks": {}, "swapped": {}, **before}
    if arguments.starts:
        made |= {**provenance("benchmarks/libero_tasks.py", sys.argv[1:]), "versions": versions()}
        made["speed"] = speed(environment("libero_spatial_0"))
    for name in names:
        env = environment(name)
        suite = env.task.cfg.suite
        for part, where, starts in (
            ("tasks", suite, arguments.starts),
            ("swapped", suite + SWAPPED, arguments.swapped),
        ):
            if starts:
                row = made[part][name] = expert(env, starts, where)
                row |= {"shift_m": shifts(env.task, where)} if part == "swapped" else {}
                told = f"{name} {where}: {row['successes']} of {row['n']}, failed {row['failed']}"
                sys.stdout.write(f"{told}\n")
                sys.stdout.flush()
                atomic_write_json(path, made)


if __name__ == "__main__":
    main()
