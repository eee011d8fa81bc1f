"""The campaign: training runs are shared, order is kept, failures are named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from para.campaign import Campaign, CampaignError, Job, ReproduceConfig, plan
from para.cli import load_config
from para.errors import UnknownNameError


def _config(**changes: object) -> ReproduceConfig:
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_config(ReproduceConfig, overrides)


def test_splits_with_the_same_training_set_share_one_run():
    jobs = plan(
        _config(splits=["lr", "nf", "distractor"], models=["para", "regression"], seeds=[0, 1])
    )
    kinds = [job.kind for job in jobs]
    assert kinds.count("demos") == 1
    assert kinds.count("eval") == 3 * 2 * 2
    trained = {job.name for job in jobs if job.kind == "train"}
    assert trained == {
        f"train {train_set} {model} seed{seed}"
        for train_set in ("left", "near", "all")
        for model in ("para", "regression")
        for seed in (0, 1)
    }


def test_every_job_comes_after_what_it_needs():
    seen: set[str] = set()
    for job in plan(_config()):
        assert set(job.needs) <= seen
        seen.add(job.name)
    assert job.kind == "website"


@pytest.mark.parametrize("campaign", ["main", "video_recipes", "video_sweep"])
def test_every_campaign_can_be_planned(campaign):
    cfg = load_config(ReproduceConfig, [f"campaign={campaign}"], ReproduceConfig)
    jobs = plan(cfg)
    assert sum(job.kind == "eval" for job in jobs) == len(cfg.splits) * len(cfg.models)
    for job in jobs:
        if job.kind in ("train", "eval"):
            loaded = load_config(job.kind, job.arguments[1:])
            if job.kind == "eval":
                assert (loaded.precision, loaded.episodes) == (cfg.precision, cfg.episodes)


def test_recipes_wait_for_the_stage_that_they_share():
    models = ["para_two_stage-svd_tiny", "para_joint-svd_tiny", "para_frozen-svd_tiny"]
    jobs = {job.name: job for job in plan(_config(splits=["lr"], models=models))}
    demos, first = "demos objpos", "train left para_two_stage-svd_tiny seed0"
    assert jobs[first].needs == (demos,)
    assert jobs["train left para_joint-svd_tiny seed0"].needs == (demos,)
    assert jobs["train left para_frozen-svd_tiny seed0"].needs == (demos, first)


def test_an_unknown_policy_is_named_before_anything_runs():
    with pytest.raises(UnknownNameError, match="two_stages"):
        plan(_config(splits=["lr"], models=["para_two_stages-svd_tiny"]))


def _job(name: str, code: str, needs: tuple[str, ...] = (), exclusive: bool = False) -> Job:
    return Job(name, "train", ("-c", code), needs, exclusive)


def test_jobs_run_in_order_and_exclusive_ones_alone(tmp_path: Path):
    """b and c each wait for the other to have started, so they must run side by side."""

    def job(name: str, waits_for: str, needs: tuple[str, ...] = (), alone: bool = False) -> Job:
        code = (
            f"import os, time; os.chdir({str(tmp_path)!r});"
            f"open('trace', 'a').write('{name}+'); open('{name}', 'w').close()\n"
            f"while not os.path.exists('{waits_for}'): time.sleep(0.02)\n"
            f"open('trace', 'a').write('{name}-')"
        )
        return _job(name, code, needs, alone)

    jobs = [
        job("a", "a", alone=True),
        job("b", "c", ("a",)),
        job("c", "b", ("a",)),
        job("d", "d", ("b", "c")),
    ]
    Campaign(jobs, slots=2, log_dir=tmp_path).run()
    text = (tmp_path / "trace").read_text()
    assert text.startswith("a+a-")
    assert sorted(text[4:8]) == sorted("b+c+")
    assert text.endswith("d+d-")


def test_a_failure_is_named_and_the_rest_goes_on(tmp_path: Path):
    done = tmp_path / "done"
    jobs = [
        _job("bad", "raise SystemExit('no such thing')"),
        _job("after bad", "raise AssertionError", ("bad",)),
        _job("good", f"open({str(done)!r}, 'w')"),
    ]
    with pytest.raises(CampaignError, match=r"2 of 3 jobs") as error:
        Campaign(jobs, slots=1, log_dir=tmp_path).run()
    assert done.exists()
    assert "python -c" in str(error.value)
    assert "no such thing" in (tmp_path / "bad.log").read_text()
    assert not (tmp_path / "after-bad.log").exists()


def test_a_killed_campaign_takes_its_jobs_along(tmp_path: Path):
    """Otherwise the same command, given again, would train beside the old jobs."""
    started = tmp_path / "pid"
    sleeper = (
        f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    code = (
        "from pathlib import Path; from para.campaign import Campaign, Job;"
        f"job = Job('sleep', 'train', ('-c', {sleeper!r}));"
        f"Campaign([job], 1, Path({str(tmp_path)!r})).run()"
    )
    campaign = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    wait_until(lambda: started.exists() and started.read_text())
    job = int(started.read_text())
    campaign.kill()
    campaign.wait()
    wait_until(lambda: not psutil.pid_exists(job))


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
