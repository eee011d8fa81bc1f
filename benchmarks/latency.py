"""Latency of one prediction from one image: `python benchmarks/latency.py [workers=THREADS]`.

Of every policy, from a uint8 image to 3D waypoints, random weights (nothing is downloaded), after a
warm-up; models are interleaved. Writes <results_dir>/benchmarks/latency.json.
"""

import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from para.camera import Camera
from para.cli import load_config, plainly
from para.figures.study import followers
from para.files import atomic_write_json
from para.policies.base import INFERENCE_DTYPES, build_policy
from para.runs.config import TrainConfig
from para.system import available_cores, provenance
from para.types import Inference, Observation

ROUNDS = {"laptop": 40, "paper": 5}
LARGE = ("para", "para_volume", "regression")
"""Policies that are timed with the profile "paper"; all are with "laptop"."""


def main() -> None:
    """Measure every case and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(TrainConfig, sys.argv[1:])
    threads = cfg.workers or available_cores()
    torch.set_num_threads(threads)
    rows = []
    for profile, rounds in ROUNDS.items():
        policies, observations = {}, {}
        for model in [name for name, *_ in followers()] if profile == "laptop" else LARGE:
            case = load_config(
                TrainConfig, [f"profile={profile}", f"model={model}", "backbone.weights=random"]
            )
            policies[model] = build_policy(case.model, case.backbone, case.env.image_size)
            observations[model] = [made_up_observation(case.env.image_size)]
        milliseconds: dict[tuple[str, str], list[float]] = {}
        for turn in range(rounds + 1):
            for model, policy in policies.items():
                for precision in INFERENCE_DTYPES:
                    start = time.perf_counter()
                    policy.predict(observations[model], Inference(precision=precision))
                    elapsed = 1000 * (time.perf_counter() - start)
                    if turn:  # the first is a warm-up
                        milliseconds.setdefault((model, precision), []).append(elapsed)
        for (model, precision), times in milliseconds.items():
            row = {
                "profile": profile,
                "backbone": case.backbone.name,
                "model": model,
                "parameters": sum(p.numel() for p in policies[model].parameters()),
                "precision": precision,
                **summary(times),
            }
            rows.append(row)
            logging.info("%s", row)
    write(f"{cfg.results_dir}/benchmarks/latency.json", threads, rows)


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Median and range of repeated timings."""
    return {
        "n": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 2),
        "fastest_ms": round(min(milliseconds), 2),
        "slowest_ms": round(max(milliseconds), 2),
    }


def write(path: str, threads: int, rows: list[dict[str, Any]]) -> None:
    """Write rows with all that is needed to measure them again."""
    result = {
        **provenance(f"benchmarks/{Path(sys.argv[0]).name}", sys.argv[1:]),
        "threads": threads,
        "rows": rows,
    }
    atomic_write_json(path, result)


def made_up_observation(size: int) -> Observation:
    """A random image of the default view."""
    camera = Camera.look_at((0.96, 0, 1.15), (0, 0, 0), 45, size, size)
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Observation(image, camera, np.array([0.0, 0.0, 0.2]), 1.0)


if __name__ == "__main__":
    plainly(main)
