"""benchmarks/confidence.py: its numbers on scores whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import confidence
from para.cli import load_config
from para.evaluation.config import EvalConfig


def made_up(informative: bool, count: int = 400) -> list[dict]:
    """Episodes whose first score tells success, or nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        success = bool(rng.random() < 0.6)
        score = rng.normal(0.7 if success and informative else 0.3, 0.1)
        both = [score, *rng.random(2)]
        rows.append({"kind": "a" if index % 3 else "b", "index": index, "success": success,
                     "plans": 3, "early": both, "whole": both})  # fmt: skip
    return rows


def test_a_score_that_tells_failures_refuses_them_and_one_that_does_not_does_not():
    good = confidence.summary(made_up(True))["confidence, early"]
    assert good["auroc"] > 0.98
    assert good["failures_refused"]["value"] > 0.9
    assert good["successes_refused"]["value"] == pytest.approx(0.05, abs=0.05)
    blind = confidence.summary(made_up(False))["confidence, early"]
    assert blind["auroc"] == pytest.approx(0.5, abs=0.06)
    assert blind["failures_refused"]["value"] < 0.2
    curve = confidence.curve(made_up(True), bins=4)
    assert curve[0]["value"] < 0.1 < 0.9 < curve[-1]["value"]
    assert [part["n"] for part in curve] == [100] * 4


def test_episodes_are_scored_as_they_run():
    cfg = load_config(EvalConfig, ["policy=para_lr", "batch=1", "workers=1"])
    (row,) = confidence.episodes(cfg, ["as in the split"], 1)
    assert row["success"]
    assert 0.2 < row["whole"][0] <= row["early"][0] < 0.87
