"""A made-up campaign in the schema of real result files, for tests of figures and the website.

Outcomes come from a seeded generator with success rates like the prototype's; nothing here is a
measurement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs.perturbations import SWEEPS, Sweep
from envs.table import PHYSICS
from para.evaluation.result_set import sweep_dir
from para.evaluation.results import result_id
from para.figures import sweep_curves

THETAS_DEG = [round(25 * i / 7, 4) for i in range(8)]
PHIS_DEG = [45.0 * i for i in range(8)]

# split -> (PARA, global regression) success on the held-out test; per theta for vp_default_to_all.
RATES: dict[str, tuple[Any, Any]] = {
    "lr": (0.97, 0.02),
    "nf": (0.94, 0.25),
    "demos_n1": (0.10, 0.02),
    "demos_n2": (0.20, 0.03),
    "demos_n256": (0.98, 0.90),
    "corner_n4": (0.30, 0.05),
    "corner_n8": (0.55, 0.10),
    "corner_n16": (0.80, 0.25),
    "corner_n32": (0.93, 0.50),
    "corner_n64": (0.97, 0.86),
    "vp_default_to_all": (
        [1.0, 1.0, 1.0, 0.96, 1.0, 0.96, 0.88, 0.75],
        [1.0, 0.92, 0.58, 0.33, 0.29, 0.21, 0.21, 0.12],
    ),
    "vp_lr": (0.95, 0.40),
    "vp_io": (0.85, 0.20),
    "vp_train_1": (0.90, 0.30),
    "vp_train_8": (0.95, 0.50),
    "vp_train_64": (0.99, 0.80),
    "distractor": (0.96, 0.60),
    "video_n16": (0.80, 0.10),
    "video_n64": (0.90, 0.20),
}
MODELS = ("para", "regression")
HERE = "bowl_on_plate-panda-together/laptop"
"""Setting and profile of all that is made here, as folders spell them."""
RESULTS = f"{HERE}/dev"
"""Setting, profile and starts of the results."""


def _condition(split: str, test: str, index: int, rng: np.random.Generator) -> dict[str, Any]:
    """Start `index` of a test: the same for every model and seed, as in the benchmark."""
    x, y = rng.uniform(-0.195, 0.195), rng.uniform(-0.30, 0.30)
    theta, phi, distractors = 0.0, 0.0, 0
    if split == "lr":
        y = abs(y) if test == "ood" else -abs(y)
    elif split == "nf":
        x = abs(x) if test == "ood" else -abs(x)
    elif split == "vp_default_to_all" and test == "ood":
        theta, phi = THETAS_DEG[index % 8], PHIS_DEG[index // 8 % 8]
    elif split == "vp_lr":
        theta = THETAS_DEG[index % 8]
        phi = PHIS_DEG[index // 8 % 4 + (4 if test == "ood" else 0)]
    elif split == "vp_io":
        theta = THETAS_DEG[index % 4 + (4 if test == "ood" else 0)]
        phi = PHIS_DEG[index // 4 % 8]
    elif split.startswith("vp_train") and test == "ood":
        theta, phi = THETAS_DEG[1] * (index % 7 + 0.5), PHIS_DEG[index // 7 % 8] + 22.5
    elif split == "distractor" and test == "ood":
        distractors = 4
    position = [round(float(x), 5), round(float(y), 5)]
    return {
        "task": "bowl_on_plate",
        "objects": {
            "bowl": [position[0], round(position[1] + 0.09, 5), 0.0],
            "plate": [position[0], round(position[1] - 0.09, 5), 0.0],
        },
        "position": position,
        "theta_deg": theta,
        "phi_deg": phi,
        "distractors": distractors,
        "seed": index,
    }


def make_video_result(split: str, model: str, stage_steps: int, steps: int) -> dict[str, Any]:
    """A result of a policy on the small video backbone, trained for `stage_steps` before."""
    result = make_result(split, model)
    result["backbone"] = {"name": "svd_tiny", "init": "random"}
    result["config"]["training"] = {
        "backbone": {"name": "svd_tiny", "kind": "video"},
        "stage": {"after_steps": stage_steps},
    }
    result["training"]["steps"] = steps
    return result


def make_result(
    split: str, model: str = "para", seed: int = 0, ood: int = 96, sanity: int = 32
) -> dict[str, Any]:
    """One result file as a dictionary; `ood` and `sanity` are numbers of episodes."""
    kind = "regression" if "regression" in model else "para"
    rate = RATES[split][MODELS.index(kind)]
    outcome = np.random.default_rng([seed, sum(map(ord, split + model))])
    episodes = []
    for test, count in (("ood", ood), ("sanity", sanity)):
        starts = np.random.default_rng([20240, sum(map(ord, split + test))])
        for index in range(count):
            condition = _condition(split, test, index, starts)
            p = 0.98 if test == "sanity" else rate
            if isinstance(p, list):
                p = p[index % 8]
            success = bool(outcome.random() < p)
            grasped = success or bool(outcome.random() < (0.6 if kind == "para" else 0.1))
            episodes.append(
                {
                    "index": index,
                    "seed": 1000 + index,
                    "test": test,
                    "condition": condition,
                    "stage": "PLACE" if success else "GRASP" if grasped else "MISS",
                    "success": success,
                    "steps": int(outcome.integers(140, 220)) if success else 600,
                    "place_error_m": round(float(outcome.uniform(0.0, 0.03)), 4)
                    if success
                    else round(float(outcome.uniform(0.05, 0.4)), 4),
                    "seconds": round(float(outcome.uniform(0.5, 1.5)), 3),
                }
            )
    return {
        "schema": 2,
        "split": split,
        "model": model,
        "seed": seed,
        "created": f"2026-01-{10 + seed:02d}T12:34:56+00:00",
        "git": "0123456789abcdef0123456789abcdef01234567",
        "profile": "laptop",
        "environment": {
            "task": "bowl_on_plate",
            "robot": "panda",
            "layout": "together",
            "stages": ["MISS", "GRASP", "PLACE"],
        },
        "backbone": {"name": model.partition("-")[2] or "laptop_cnn", "init": "random"},
        "augment": "colour",
        "training": {"minutes": 3.5 + 0.1 * seed, "steps": 1500, "demos": 128},
        "hardware": {"cpu": "Example CPU", "cores": 2, "gpu": None, "memory_gb": 8.0},
        "config": {
            "profile": "laptop",
            "robot": "panda",
            "layout": "together",
            "seed": seed,
            "model": {"name": model, "kind": kind},
            "split": {"name": split},
        },
        "episodes": episodes,
    }


def result_path(results_dir: Path, result: dict[str, Any]) -> Path:
    """Where the evaluation writes a result."""
    return result_id(result).path(results_dir)


def write_result(results_dir: Path, result: dict[str, Any]) -> Path:
    """Write one result where the evaluation writes it."""
    path = result_path(results_dir, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def write_results(
    results_dir: Path,
    splits: Iterable[str] = tuple(RATES),
    models: Iterable[str] = MODELS,
    seeds: Iterable[int] = (0,),
    ood: int = 96,
    sanity: int = 32,
) -> list[Path]:
    """Write a whole campaign; returns the paths of the result files."""
    models, seeds = tuple(models), tuple(seeds)
    return [
        write_result(results_dir, make_result(split, model, seed, ood, sanity))
        for split in splits
        for model in models
        for seed in seeds
    ]


def write_sweep(
    results_dir: Path,
    sweep: str,
    model: str,
    seed: int = 0,
    succeed: Callable[[Mapping[str, float]], int] = len,
) -> Path:
    """A result of a sweep: 4 starts at each level, undisturbed first; `succeed(level)` are done."""
    levels = Sweep(SWEEPS.load(sweep)).levels
    result = make_result("lr", model, seed, ood=4 * len(levels), sanity=0)
    for k, episode in enumerate(result["episodes"]):
        done = k % 4 < succeed(levels[k // 4])
        episode["condition"]["perturbed"] = levels[k // 4]
        episode |= {"success": done, "stage": "PLACE" if done else "MISS"}
    result["split"] = sweep_curves.SPLIT
    result["environment"] |= {"layout": sweep_curves.LAYOUT, "version": PHYSICS}
    told = {"camera_fovy_deg": 45.0, "camera_distance": 1.5}
    result["config"]["evaluation"] = {"env": told}
    return write_result(sweep_dir(results_dir, sweep), result)
