"""benchmarks/drift.py: its rates, and the drift of an episode whose camera moves."""

from __future__ import annotations

import pytest

from benchmarks import drift
from para.cli import load_config
from para.evaluation.config import EvalConfig


def row(measured: list[float | None], true: list[float], success: bool) -> dict:
    return {"kind": "a", "success": success, "measured_mm": measured, "true_mm": true}


def test_alarms_are_counted_by_how_far_the_camera_truly_moved():
    rows = [row([0, 1], [0, 0], True), row([0, 8], [0, 7], True), row([0, 14], [0, 12], True)]
    rows += [row([0, None, 25], [0, 20, 26], False), row([0, None], [0, 30], False)]
    least, _, middle, most = drift.bands(rows, 10.0)
    assert (least["from_mm"], most["from_mm"], most["to_mm"]) == (0, 20, 40)
    assert [band["warned"]["value"] for band in (least, middle, most)] == [0, 1, 0.5]
    assert [band["refused"]["value"] for band in (least, middle, most)] == [0, 0, 0.5]
    assert most["success"]["value"] == 0
    assert most["unknown"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert (most["error_mm"]["p50"], middle["error_mm"]["p95"]) == (1, 2)


def test_the_drift_of_an_episode_is_measured_as_it_runs():
    cfg = load_config(EvalConfig, ["policy=para_lr", "robot=hand", "batch=1", "workers=1"])
    kinds = {"still": {}, "moves": {"perturbed": {"drift_rotation_deg": 2.0}}}
    still, moves = drift.episodes(cfg, kinds, 1)
    assert max(still["true_mm"]) == 0
    assert max(still["measured_mm"]) < 5
    assert moves["true_mm"][0] == 0 < moves["true_mm"][-1]
    assert moves["measured_mm"][-1] == pytest.approx(moves["true_mm"][-1], abs=10)
