"""Does a policy know when it fails? `python benchmarks/confidence.py [episodes=N]`.

Rolls out the shipped policy on development starts of `lr`: as they are, and changed in ways that it
was not trained for (KINDS), so that many episodes fail. Three scores of a plan, of the waypoints
that are executed: `confidence` (para/safety.py), one minus the height of the second peak, and one
minus the heatmap's entropy over that of an even one (Shannon). An episode's is the least of its
first three plans, which is what most successful ones take, or of all of its plans.

The threshold refuses 5 % of the successes among starts with an even index, and is reported on those
with an odd one. Writes <results_dir>/benchmarks/confidence.json.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from envs.base import Environment, build_task
from envs.episodes import UNSEEN, Condition
from envs.splits import test_conditions
from para.cli import load_config, plainly
from para.evaluation.config import EvalConfig
from para.evaluation.rollout import rollout
from para.files import atomic_write_json
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.safety import SafetyConfig, second_peaks, waypoint_confidence
from para.statistics import Rate
from para.system import provenance, set_threads
from para.types import ActionChunk, Observation

KINDS: dict[str, dict[str, Any]] = {
    "as in the split": {},
    "8 distractors": {"distractors": 8},
    "camera 40 deg aside": {"theta_deg": 40.0, "phi_deg": 90.0},
    "camera 40 deg higher": {"theta_deg": 40.0, "phi_deg": 180.0},
    "light 0.35": {"perturbed": {"light": 0.35}},
    "light 0.6": {"perturbed": {"light": 0.6}},
    "noise 60": {"perturbed": {"noise": 60.0}},
    "unseen looks": {"appearance": UNSEEN},
    "calibration wrong by 3 deg": {"perturbed": {"told_rotation_deg": 3.0}},
}
SCORES = ("confidence", "one peak", "low entropy")
EARLY = 3
"""Plans that every episode is judged by."""
FALSE_REFUSALS = 0.05


class Scores:
    """A recorder that keeps the scores of every plan of an episode."""

    def __init__(self, execute: int):
        self.execute, self.plans = execute, []

    def start(self, env: Environment) -> None:
        """See `Recorder`."""

    def plan(self, observation: Observation, chunk: ActionChunk) -> None:
        """Score it."""
        size, first = observation.image.shape[1], slice(self.execute)
        heat = chunk.heatmaps[first].reshape(self.execute, -1).astype(np.float64)
        entropy = -(heat * np.log(np.maximum(heat, 1e-300))).sum(1) / np.log(heat.shape[1])
        second = second_peaks(chunk, size, SafetyConfig().apart)[first]
        confidence = waypoint_confidence(chunk, size)[first]
        self.plans.append([confidence.min(), 1 - second.max(), 1 - entropy.max()])

    def waypoint(self, k: int) -> None:
        """See `Recorder`."""

    def step(self, env: Environment) -> None:
        """See `Recorder`."""


def episodes(cfg: EvalConfig, kinds: Iterable[str], count: int) -> list[dict[str, Any]]:
    """Outcome and scores of `count` episodes of each kind."""
    policy, _ = load_policy(policy_folder(str(cfg.policy)))
    task = build_task(cfg.task)
    starts = test_conditions(cfg.split, "ood", task, cfg.layout, count, cfg.env, "dev")
    envs = [task.environment(cfg.robot, cfg.layout, cfg.env) for _ in range(cfg.batch)]
    rows = []
    for kind in kinds:
        changed = [_changed(start, i, KINDS[kind]) for i, start in enumerate(starts)]
        for first in range(0, count, cfg.batch):
            chunk = changed[first : first + cfg.batch]
            scores = {i: Scores(cfg.execute) for i in range(len(chunk))}
            for i, done in enumerate(rollout(policy, envs, chunk, cfg.inference, scores)):
                plans = np.array(scores[i].plans)
                rows.append(
                    {
                        "kind": kind,
                        "index": first + i,
                        "success": done["success"],
                        "plans": len(plans),
                        "early": plans[:EARLY].min(0).round(5).tolist(),
                        "whole": plans.min(0).round(5).tolist(),
                    }
                )
        successes = [row["success"] for row in rows if row["kind"] == kind]
        logging.info("%s: %s", kind, Rate.of(successes))
    return rows


def _changed(start: Condition, index: int, changes: dict[str, Any]) -> Condition:
    look = {"look": index} if "appearance" in changes else {}
    return replace(start, seed=index, **changes, **look)


def auroc(scores: np.ndarray, success: np.ndarray) -> float:
    """Probability that a success scores higher than a failure (Mann-Whitney's U)."""
    above = scores[success][:, None] - scores[~success]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def threshold(scores: np.ndarray, success: np.ndarray) -> float:
    """The score below which FALSE_REFUSALS of the successes lie."""
    return float(np.quantile(scores[success], FALSE_REFUSALS))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each score: how well it tells failures, and what its threshold refuses."""
    success = np.array([row["success"] for row in rows])
    odd = np.array([row["index"] % 2 == 1 for row in rows])
    kinds = np.array([row["kind"] for row in rows])
    found: dict[str, Any] = {}
    for span in ("early", "whole"):
        values = np.array([row[span] for row in rows])
        for k, name in enumerate(SCORES):
            scores = values[:, k]
            least = threshold(scores[~odd], success[~odd])
            refused = scores < least
            found[f"{name}, {span}"] = {
                "auroc": round(auroc(scores, success), 3),
                "threshold": round(least, 4),
                "successes_refused": _rate(refused[odd & success]),
                "failures_refused": _rate(refused[odd & ~success]),
                "failures_refused_by_kind": {
                    kind: _rate(refused[odd & ~success & (kinds == kind)])
                    for kind in dict.fromkeys(kinds.tolist())
                    if (odd & ~success & (kinds == kind)).any()
                },
            }
    return found


def curve(rows: Sequence[dict[str, Any]], bins: int = 8) -> list[dict[str, Any]]:
    """Success against confidence (early), in bins with equally many episodes."""
    ordered = sorted(rows, key=lambda row: row["early"][0])
    parts = np.array_split(np.arange(len(ordered)), min(bins, len(ordered)))
    return [
        {
            "least": ordered[part[0]]["early"][0],
            "most": ordered[part[-1]]["early"][0],
            **_rate([ordered[i]["success"] for i in part]),
        }
        for part in parts
    ]


def _rate(values: Iterable[bool]) -> dict[str, Any]:
    return Rate.of([bool(value) for value in values]).row()


def main() -> None:
    """Roll out, score, and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(EvalConfig, ["policy=para_lr", *sys.argv[1:]])
    set_threads(cfg.workers)
    rows = episodes(cfg, KINDS, cfg.episodes or 60)
    result = {
        **provenance("benchmarks/confidence.py", sys.argv[1:]),
        "policy": cfg.policy,
        "starts": "dev",
        "scores": list(SCORES),
        "success": {
            kind: _rate(row["success"] for row in rows if row["kind"] == kind) for kind in KINDS
        },
        "summary": summary(rows),
        "curve": curve(rows),
        "episodes": rows,
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/confidence.json", result)


if __name__ == "__main__":
    plainly(main)
