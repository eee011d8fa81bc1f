"""Is it seen that the camera has moved, before it costs success? `python benchmarks/drift.py`.

Rolls out the shipped policy on development starts of `lr`: undisturbed, at every level of the sweep
`camera_drift` (the real camera moves between second 1 and 2, the policy is told the old one), and
changed in ways that leave the camera where it is (HARMLESS), in which every alarm is a false one.
`para.drift.DriftWatch` sees each plan's image; nothing is stopped, so that success is what it would
be without the check. An episode is warned of, or refused, by its largest drift.

Writes <results_dir>/benchmarks/drift.json: rates with Wilson intervals by what was changed, and by
how far off the camera's motion truly put the hand's goals at the last plan (BANDS).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from envs.base import Environment, build_task
from envs.episodes import UNSEEN, Condition
from envs.perturbations import drifted_camera
from envs.splits import test_conditions
from para.cli import load_config, plainly
from para.drift import DriftWatch, places
from para.evaluation.config import EvalConfig
from para.evaluation.rollout import rollout
from para.files import atomic_write_json
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.safety import SafetyConfig
from para.statistics import Rate
from para.system import provenance, set_threads
from para.types import ActionChunk, Observation

HARMLESS: dict[str, dict[str, Any]] = {
    "8 distractors": {"distractors": 8},
    "unseen looks": {"appearance": UNSEEN},
    "noise 20": {"perturbed": {"noise": 20.0}},
}
BANDS = (0.0, 5.0, 10.0, 20.0, 40.0)
"""Edges of bands of true drift [mm]; the last one is open."""


class Drifts:
    """A recorder that keeps, of every plan, the measured and the true drift [m]."""

    def __init__(self, execute: int):
        self.execute, self.watch = execute, DriftWatch()
        self.plans: list[tuple[float | None, float]] = []

    def start(self, env: Environment) -> None:
        """See `Recorder`."""
        self._env = env

    def plan(self, observation: Observation, chunk: ActionChunk) -> None:
        """Compare what is tracked with the camera that nobody is told."""
        goals = places(observation, chunk, self.execute)
        measured = self.watch.drift(observation, goals)
        told = observation.camera
        real = drifted_camera(told, self._env.condition, self._env.steps)
        pixels, depth = told.project(goals)
        shift = (real.project(goals)[0] - pixels) @ np.linalg.inv(told.intrinsics)[:2, :2].T
        true = depth * np.linalg.norm(shift, axis=1)
        self.plans.append((measured, float(np.nanmax(true))))

    def waypoint(self, k: int) -> None:
        """See `Recorder`."""

    def step(self, env: Environment) -> None:
        """See `Recorder`."""


def episodes(
    cfg: EvalConfig, changes: dict[str, dict[str, Any]], count: int
) -> list[dict[str, Any]]:
    """Outcome and drifts [mm] of `count` episodes of each kind."""
    policy, _ = load_policy(policy_folder(str(cfg.policy)))
    task = build_task(cfg.task)
    starts = test_conditions(cfg.split, "ood", task, cfg.layout, count, cfg.env, "dev")
    envs = [task.environment(cfg.robot, cfg.layout, cfg.env) for _ in range(cfg.batch)]
    rows = []
    for kind, change in changes.items():
        changed = [_changed(start, i, change) for i, start in enumerate(starts)]
        for first in range(0, count, cfg.batch):
            chunk = changed[first : first + cfg.batch]
            drifts = {i: Drifts(cfg.execute) for i in range(len(chunk))}
            for i, done in enumerate(rollout(policy, envs, chunk, cfg.inference, drifts)):
                rows.append(_row(kind, first + i, done["success"], drifts[i].plans))
        logging.info("%s: %s", kind, Rate.of([r["success"] for r in rows if r["kind"] == kind]))
    return rows


def _changed(start: Condition, index: int, change: dict[str, Any]) -> Condition:
    look = {"look": index} if "appearance" in change else {}
    return replace(start, seed=index, **change, **look)


def _row(
    kind: str, index: int, success: bool, plans: Sequence[tuple[float | None, float]]
) -> dict[str, Any]:
    measured = [None if m is None else round(1000 * m, 2) for m, _ in plans]
    return {
        "kind": kind,
        "index": index,
        "success": success,
        "measured_mm": measured,
        "true_mm": [round(1000 * true, 2) for _, true in plans],
    }


def summary(rows: Sequence[dict[str, Any]], warn: float) -> dict[str, Any]:
    """Rates of some episodes: success, warned of, refused; and how well the drift is measured.

    Args:
        rows: See `episodes`.
        warn: The drift from which on a warning is given [mm].
    """
    largest = [max(m for m in row["measured_mm"] if m is not None) for row in rows]
    pairs = [
        (m, t)
        for row in rows
        for m, t in list(zip(row["measured_mm"], row["true_mm"], strict=True))[1:]
    ]
    errors = [abs(m - t) for m, t in pairs if m is not None]
    return {
        "success": _rate([row["success"] for row in rows]),
        "warned": _rate([value >= warn for value in largest]),
        "refused": _rate([value >= 2 * warn for value in largest]),
        "unknown": _rate([m is None for m, _ in pairs]),
        "true_mm": round(float(np.median([row["true_mm"][-1] for row in rows])), 2),
        "error_mm": {f"p{q}": _quantile(errors, q / 100) for q in (50, 95)},
    }


def bands(rows: Sequence[dict[str, Any]], warn: float) -> list[dict[str, Any]]:
    """The same by the true drift at an episode's last plan; bands without episodes are left out."""
    found = []
    for low, high in zip(BANDS, [*BANDS[1:], np.inf], strict=True):
        inside = [row for row in rows if low <= row["true_mm"][-1] < high]
        if inside:
            upper = high if np.isfinite(high) else None
            found.append({"from_mm": low, "to_mm": upper, **summary(inside, warn)})
    return found


def _quantile(values: Sequence[float], part: float) -> float | None:
    return round(float(np.quantile(values, part)), 2) if values else None


def _rate(values: Sequence[bool]) -> dict[str, Any]:
    return Rate.of([bool(value) for value in values]).row()


def main() -> None:
    """Roll out, compare, and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(EvalConfig, ["policy=para_lr", "sweep=camera_drift", *sys.argv[1:]])
    set_threads(cfg.workers)
    begin = provenance("benchmarks/drift.py", sys.argv[1:])
    names = {"drift_rotation_deg": "{:g} deg", "drift_shift_mm": "{:g} mm"}
    drifting = {
        names[key].format(level): {"perturbed": {key: float(level)}}
        for key, levels in cfg.sweep.levels.items()
        for level in levels
    }
    changes = {"undisturbed": {}, **drifting, **HARMLESS}
    warn = 1000 * SafetyConfig().warn_drift
    rows = episodes(cfg, changes, cfg.episodes or 100)
    by_kind = {
        kind: summary([row for row in rows if row["kind"] == kind], warn) for kind in changes
    }
    moved = [row for row in rows if row["kind"] in drifting or row["kind"] == "undisturbed"]
    still = [row for row in rows if row["kind"] not in drifting]
    result = {
        **begin,
        "policy": cfg.policy,
        "robot": cfg.robot,
        "starts": "dev",
        "warn_mm": warn,
        "kinds": by_kind,
        "bands": bands(moved, warn),
        "still": summary(still, warn),
        "episodes": rows,
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/drift.json", result)


if __name__ == "__main__":
    plainly(main)
