"""The campaign: training runs are shared, order is kept, failures are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from para.campaign import Campaign, CampaignError, Job, plan
from para.cli import load_config
from para.config import ReproduceConfig


def _config(**changes: object) -> ReproduceConfig:
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_config("reproduce", overrides, ReproduceConfig)


def test_splits_with_the_same_training_set_share_one_run():
    jobs = plan(_config(splits=["lr", "nf", "distractor"], models=["para", "act"], seeds=[0, 1]))
    kinds = [job.kind for job in jobs]
    assert kinds.count("demos") == 1
    assert kinds.count("eval") == 3 * 2 * 2
    trained = {job.name for job in jobs if job.kind == "train"}
    assert trained == {
        f"train {train_set} {model} seed{seed}"
        for train_set in ("left", "near", "all")
        for model in ("para", "act")
        for seed in (0, 1)
    }


def test_every_job_comes_after_what_it_needs():
    seen: set[str] = set()
    for job in plan(_config()):
        assert set(job.needs) <= seen
        seen.add(job.name)
    assert job.kind == "website"


def _job(name: str, code: str, needs: tuple[str, ...] = (), exclusive: bool = False) -> Job:
    return Job(name, "train", ("-c", code), needs, exclusive)


def test_jobs_run_in_order_and_exclusive_ones_alone(tmp_path: Path):
    trace = tmp_path / "trace"
    code = (
        "import time; file = open({!r}, 'a'); file.write('{}+'); file.flush();"
        "time.sleep(0.4); file.write('{}-')"
    )

    def job(name: str, needs: tuple[str, ...] = (), exclusive: bool = False) -> Job:
        return _job(name, code.format(str(trace), name, name), needs, exclusive)

    jobs = [job("a", exclusive=True), job("b", ("a",)), job("c", ("a",)), job("d", ("b", "c"))]
    Campaign(jobs, slots=2, log_dir=tmp_path).run()
    text = trace.read_text()
    assert text.startswith("a+a-")
    assert set(text[4:8]) == set("b+c+"), "b and c run side by side"
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
