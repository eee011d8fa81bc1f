"""Evaluation episodes per minute, and where the time goes.

    python benchmarks/evaluation.py [robot=hand] [episodes=96] [batch=8] [workers=2]

Takes the keys of scripts/eval.py; without robot=... it measures both. The policy is PARA as the
profile configures it, untrained: its network runs on every observation, but the expert's waypoints
are executed, so that episodes are as long as those of a policy that works. Starting the worker
processes is part of the time. Writes <results_dir>/benchmarks/evaluation.json.
"""

import logging
import sys
import time
from functools import partial

from envs.base import build_task
from envs.splits import test_conditions
from para.cli import load_config, plainly
from para.evaluation.config import EvalConfig
from para.executors import LocalExecutor
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.system import provenance

EPISODES = 96


class TimedWorker:
    """Runs chunks of conditions and adds up where the time goes [s]."""

    def __init__(self, cfg, train_cfg):
        import cv2
        import torch

        from para.evaluation.oracle import Oracle
        from para.policies.base import build_policy

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        task = build_task(cfg.task)
        self.envs = [task.environment(cfg.robot, cfg.layout, cfg.env) for _ in range(cfg.batch)]
        self.oracle = Oracle(self.envs, train_cfg.model.horizon, cfg.execute)
        self.inference = cfg.inference
        self.network = build_policy(train_cfg.model, train_cfg.backbone, cfg.env.image_size).eval()
        self.spent = {"inference": 0.0, "render": 0.0}
        for env in self.envs:
            env.observe = self.timed("render", env.observe)
        self.look = self.timed("inference", self.network.predict)
        self.envs[0].observe()  # OpenGL starts with the first frame: part of starting up

    def timed(self, name, function):
        """`function`, adding the time that it takes to `self.spent[name]`."""

        def call(*arguments):
            begin = time.perf_counter()
            result = function(*arguments)
            self.spent[name] += time.perf_counter() - begin
            return result

        return call

    def predict(self, observations, inference):
        """Ask the network, do what the expert says."""
        self.look(observations, inference)
        return self.oracle.predict(observations, inference)

    def __call__(self, conditions):
        from para.evaluation.rollout import rollout

        self.spent.update(inference=0.0, render=0.0)
        begin = time.time()
        outcomes = rollout(self, self.envs, conditions, self.inference)
        return {"begin": begin, "end": time.time(), "outcomes": outcomes, **self.spent}


def measure(cfg, train_cfg):
    """Run the episodes of one robot; return the numbers."""
    task = build_task(cfg.task)
    conditions = test_conditions(cfg.split, "ood", task, cfg.layout, cfg.episodes or EPISODES)
    chunks = [conditions[i : i + cfg.batch] for i in range(0, len(conditions), cfg.batch)]
    executor = LocalExecutor(workers=cfg.workers)
    begin = time.time()
    runs = [run for _, run in executor.run(partial(TimedWorker, cfg, train_cfg), chunks)]
    seconds = time.time() - begin
    busy = sum(run["end"] - run["begin"] for run in runs)
    outcomes = [outcome for run in runs for outcome in run["outcomes"]]
    shares = {name: sum(run[name] for run in runs) / busy for name in ("inference", "render")}
    shares["physics_and_ik"] = 1 - sum(shares.values())
    return {
        "robot": cfg.robot,
        "n": len(outcomes),
        "successes": sum(outcome["success"] for outcome in outcomes),
        "workers": executor.processes,
        "batch": cfg.batch,
        "image_size": cfg.env.image_size,
        "seconds": round(seconds, 1),
        "startup_seconds": round(min(run["begin"] for run in runs) - begin, 1),
        "episodes_per_minute": round(60 * len(outcomes) / seconds, 1),
        "seconds_per_episode_and_core": round(busy / len(outcomes), 3),
        "control_steps_per_episode": round(sum(o["steps"] for o in outcomes) / len(outcomes), 1),
        "plans_per_episode": round(sum(o["plans"] for o in outcomes) / len(outcomes), 2),
        "shares": {name: round(share, 3) for name, share in shares.items()},
    }


def main() -> None:
    """Measure, write, print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = sys.argv[1:]
    robots = (
        [""] if any(o.startswith("robot=") for o in overrides) else ["robot=hand", "robot=panda"]
    )
    rows = []
    for robot in robots:
        cfg = load_config(EvalConfig, [*overrides, *([robot] if robot else [])])
        train_cfg = load_config(TrainConfig, ["model=para", f"profile={cfg.profile}"])
        rows.append(row := measure(cfg, train_cfg))
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row["shares"].items())
        print(
            f"{row['robot']}: {row['n']} episodes in {row['seconds']} s "
            f"({row['episodes_per_minute']} per minute, {row['startup_seconds']} s of it start-up; "
            f"{shares}; {row['successes']} succeeded)"
        )
    path = f"{cfg.results_dir}/benchmarks/evaluation.json"
    result = {
        **provenance("benchmarks/evaluation.py", overrides),
        "rows": rows,
    }
    atomic_write_json(path, result)
    print(path)


if __name__ == "__main__":
    plainly(main)
