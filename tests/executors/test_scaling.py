"""The benchmarks of scale, on sizes of a test."""

from __future__ import annotations

import json

import pytest

from benchmarks import long_evaluation
from benchmarks.scaling import SleepingExecutor, measure, plot
from para.executors.ray import RayConfig, RayExecutor, connect


@pytest.mark.long
def test_simulated_workers_sleep_side_by_side(cluster, tmp_path):
    import ray

    cfg = RayConfig(name="ray", address=cluster.address)
    real = measure(RayExecutor(cfg, 2), 2, seconds=0.1, rounds=2, sim=False)
    connect(cfg, None)
    try:
        row = measure(SleepingExecutor(20), 20, seconds=0.2, rounds=2, sim=True)
    finally:
        ray.shutdown()
    assert (real.jobs, row.jobs) == (4, 40)
    assert 0.05 < row.efficiency <= 1
    assert row.jobs_a_minute > 2 * 60 / 0.2  # that of two workers
    assert 0 < row.driver_ms < 100
    plot([real, row], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.long
def test_a_longer_evaluation_needs_no_more_memory_or_files(tmp_path, really_spawned):
    """160 episodes; 10,000 are benchmarks/long_evaluation.py."""
    folders = [f"{name}_dir={tmp_path / name}" for name in ("runs", "results", "outputs", "data")]
    asked = ["episodes=80", "env.max_steps=4", "batch=4", "workers=1", "execute=1", *folders]
    grown = long_evaluation.main(asked, every_s=0.1)
    assert grown["files"] <= 1  # the journal may be open just then
    assert grown["workers_mb"] < 20
    assert grown["driver_mb"] < 20
    (path,) = tmp_path.rglob("long_evaluation.json")
    assert json.loads(path.read_text())["episodes"] == 160
