"""The campaign: training runs are shared, order is kept, failures are named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from envs.multi_task import suite
from para.campaign.cells import GROUPS, campaigns
from para.campaign.config import CampaignConfig, PartConfig, ReproduceConfig
from para.campaign.cost import EXPECTED_S, estimate
from para.campaign.job import Job
from para.campaign.plan import plan
from para.campaign.run import CampaignError, CampaignRun
from para.cli import load_config
from para.commands import reproduce
from para.errors import UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.result_set import sweep_dir
from para.executors import LocalExecutor
from para.fields import check
from para.places import ROOT, typed
from para.registry import options
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from tests.executors.clusters import until
from tests.results_fixture import make_result, write_result


def _config(**changes: object) -> ReproduceConfig:
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_config(ReproduceConfig, overrides)


def test_splits_with_the_same_training_set_share_one_run():
    jobs = plan(
        _config(splits=["lr", "nf", "distractor"], models=["para", "regression"], seeds=[0, 1])
    ).jobs
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


def test_a_sweep_is_an_evaluation_of_its_own_of_the_same_run():
    part = PartConfig(["lr"], ["para"], sweeps=["noise", "light"], episodes=3)
    cfg = _config()
    cfg.campaigns, cfg.website = (
        {"one": CampaignConfig([part, PartConfig(["lr"], ["para"])])},
        False,
    )
    jobs = plan(cfg).jobs
    assert [job.kind for job in jobs].count("train") == 1
    noise, light, usual = (job for job in jobs if job.kind == "eval")
    assert noise.work.output == sweep_dir(cfg.results_dir, "noise") / usual.work.output.relative_to(
        cfg.results_dir
    )
    assert (noise.work.amount, light.work.amount) == (3 * 5, 3 * 7)
    assert {"sweep=noise", "episodes=3"} <= {*noise.arguments}
    assert not any(argument.startswith("sweep=") for argument in usual.arguments)
    part.sweeps = ["nois"]
    with pytest.raises(UnknownNameError, match="Did you mean 'noise'"):
        plan(cfg)


def test_one_policy_for_all_tasks_is_one_training_on_the_demos_of_each():
    part = PartConfig(
        ["lr", "multi_task_lr"], ["para"], tasks=["bowl_on_plate", "open_drawer"],
        layouts=["independent"],
    )  # fmt: skip
    cfg = _config()
    cfg.campaigns, cfg.website = {"one": CampaignConfig([part])}, False
    jobs = {job.name: job for job in plan(cfg).jobs}
    trained = [job for job in jobs.values() if job.kind == "train"]
    alone = [job for job in trained if len(job.needs) == 1]
    (shared,) = (job for job in trained if job not in alone)
    assert len(alone) == 2
    assert len(shared.needs) == len(suite(cfg.robot))
    config = load_config(TrainConfig, [*shared.arguments])
    assert shared.work.output.parent == run_dir(config)
    assert shared.work.amount == 6000
    assert {jobs[name].work.output for name in shared.needs} <= {*shared.reads}
    tests = [job for job in jobs.values() if job.kind == "eval" and shared.name in job.needs]
    assert len(tests) == 2
    for job in tests:
        assert shared.work.output in job.reads
        assert job.work.split == "multi_task_lr"


def test_every_job_comes_after_what_it_needs():
    seen: set[str] = set()
    for job in plan(_config(splits=["lr", "vp_lr"], seeds=[0, 1])).jobs:
        assert set(job.needs) <= seen
        seen.add(job.name)
    assert job.kind == "website"


NAMED = [f"{group}={name}" for group in GROUPS for name in options(group)]


@pytest.mark.long
@pytest.mark.parametrize("named", NAMED)
def test_every_campaign_can_be_planned(named):
    """Each training and each evaluation once; their calls are those of the cells."""
    cfg = load_config(ReproduceConfig, [named, "website=false"])
    (cells,) = campaigns(cfg).values()
    planned = plan(cfg)
    assert planned.by_campaign.keys() == cfg.campaigns.keys() == {named}
    evaluations = [job for job in planned.jobs if job.kind == "eval"]
    assert len({job.work.output for job in evaluations}) == len(evaluations) == len(cells)
    loaded = [
        load_config(EvalConfig, job.arguments) for job in evaluations[:: max(1, len(cells) // 2)]
    ]
    for one in loaded:
        check(one)
        assert one.starts == "final"
        assert (one.split.name, one.layout, one.appearance, one.precision, one.episodes) in {
            (c.split, c.layout, c.appearance, c.precision, c.episodes) for c in cells
        }
    trained = {job.name: job for job in planned.jobs if job.kind == "train"}
    some = load_config(TrainConfig, trained[evaluations[-1].needs[0]].arguments)
    check(some)
    last = load_config(EvalConfig, evaluations[-1].arguments)
    assert (some.seed, some.split.train_set) == (last.seed, last.split.train_set)


def test_nothing_named_is_everything_and_keys_keep_a_part_of_it():
    cfg = _config(models=["para"], seeds=[4], website=False)
    found = campaigns(cfg)
    assert set(found) == {"figure=demonstrations"}
    assert {(c.split, c.layout) for c in found["figure=demonstrations"]} == {
        (split, layout)
        for split in ("demos_n1", "corner_n8", "demos_n256")
        for layout in ("together", "independent")
    }
    with pytest.raises(UnknownNameError, match="Did you mean 'corner_n8'"):
        campaigns(load_config(ReproduceConfig, ["figure=demonstrations", "splits=[corner_n9]"]))
    with pytest.raises(UnknownNameError, match="Did you mean 'demonstrations'"):
        load_config(ReproduceConfig, ["figure=demonstration"])


def test_what_follows_the_same_augmentation_is_trained_once():
    """Global regression follows colours only: asked for `camera` it is the same policy."""
    part = PartConfig(["lr"], ["regression", "para"], augments=["camera", "colour", "forced"])
    cfg = _config()
    cfg.campaigns = {"own": CampaignConfig([part])}
    planned = plan(cfg)
    trained = [job.work.of for job in planned.jobs if job.kind == "train"]
    assert trained == ["regression", "regression@forced", "para", "para@colour", "para@forced"]


def test_the_estimate_scales_what_was_measured(tmp_path):
    """Minutes by steps and seconds by episodes; jobs that two campaigns need count once."""
    names = ("data", "results", "reference", "runs")  # what lies in the checkout counts for nothing
    folders = {f"{name}_dir": str(tmp_path / name) for name in names}
    result = make_result("lr", "para", ood=30, sanity=10)
    result["training"] |= {"minutes": 10.0, "steps": 1000}
    result["evaluation"] = {"key": "k", "seconds": 80.0}
    write_result(tmp_path / "reference", result)
    cfg = _config(splits=["lr"], models=["para"], website=False, **folders)
    planned = plan(cfg)
    one, whole = estimate(cfg, planned)
    steps = load_config(TrainConfig).training.steps
    hours = (steps * 0.6 + 160 * 2.0 + 2 * EXPECTED_S["demos"]) / 3600
    assert one.hours == whole.hours == whole.left == pytest.approx(hours)
    assert one.counts == {"demos": (1, 0), "train": (1, 0), "eval": (1, 0)}
    (evaluation,) = (job for job in planned.jobs if job.kind == "eval")
    evaluation.work.output.parent.mkdir(parents=True)
    evaluation.work.output.write_text("{}")
    assert estimate(cfg, planned)[-1].counts["eval"] == (1, 1)
    words = ["figure=three_way", "table=notes", "website=false"]
    words += [f"{name}={folder}" for name, folder in folders.items()]
    *parts, whole = estimate(cfg, plan(load_config(ReproduceConfig, words)))
    assert sum(row.counts["eval"][0] for row in parts) == 60 + 12
    assert whole.counts["eval"][0] == 60 + 12 - 2  # both have PARA and regression on lr


def test_a_dry_run_says_the_sum_and_does_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reproduce.main(["table=notes", "dry_run=true"])
    words = capsys.readouterr().out.split()
    assert words[words.index("all") + 1 :][:2] == ["12", "12"]
    assert not list(tmp_path.iterdir())


def test_recipes_wait_for_the_stage_that_they_share():
    models = ["para_two_stage-svd_tiny", "para_joint-svd_tiny", "para_frozen-svd_tiny"]
    jobs = {job.name: job for job in plan(_config(splits=["lr"], models=models)).jobs}
    demos, first = "demos objpos", "train left para_two_stage-svd_tiny seed0"
    assert jobs[first].needs == (demos,)
    assert jobs["train left para_joint-svd_tiny seed0"].needs == (demos,)
    assert jobs["train left para_frozen-svd_tiny seed0"].needs == (demos, first)


def test_an_unknown_policy_is_named_before_anything_runs():
    with pytest.raises(UnknownNameError, match="two_stages"):
        plan(_config(splits=["lr"], models=["para_two_stages-svd_tiny"]))


def test_an_unknown_executor_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'local'"):
        _config(executor="locl")


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job that runs some code; it finds its files in the folder of the test."""

    def write(name: str, code: str, needs: tuple[str, ...] = (), exclusive: bool = False) -> Job:
        script = tmp_path / f"{name}.py"
        script.write_text(f"import os, sys, time\nos.chdir({str(tmp_path)!r})\n{code}\n")
        return Job(name, "train", str(script.with_suffix("")), (f"key={name}",), needs, exclusive)

    return write


def campaign(jobs: list[Job], slots: int, log_dir: Path) -> CampaignRun:
    return CampaignRun(jobs, LocalExecutor(workers=slots), log_dir)


def test_jobs_run_in_order_and_exclusive_ones_alone(tmp_path: Path, job: Callable[..., Job]):
    """b and c each wait for the other to have started, so they must run side by side."""

    def traced(name: str, waits_for: str, needs: tuple[str, ...] = (), alone: bool = False) -> Job:
        code = (
            f"open('trace', 'a').write('{name}+'); open('{name}', 'w').close()\n"
            f"while not os.path.exists('{waits_for}'): time.sleep(0.02)\n"
            f"open('trace', 'a').write('{name}-')"
        )
        return job(name, code, needs, alone)

    jobs = [
        traced("a", "a", alone=True),
        traced("b", "c", ("a",)),
        traced("c", "b", ("a",)),
        traced("d", "d", ("b", "c")),
    ]
    campaign(jobs, 2, tmp_path).run()
    text = (tmp_path / "trace").read_text()
    assert text.startswith("a+a-")
    assert sorted(text[4:8]) == sorted("b+c+")
    assert text.endswith("d+d-")


def test_a_job_is_the_script_as_typed_with_its_output_in_a_log(
    tmp_path: Path, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
):
    """It is its own main module, single-threading is left to it, and it may start processes."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = (
        "import subprocess, logging\n"
        "from para.executors import LocalExecutor, stateless\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1], os.environ.get('OMP_NUM_THREADS'))\n"
        "    subprocess.run(['echo', 'from a child'])\n"
        "    logging.basicConfig(format='own %(message)s')\n"
        "    logging.warning('format')\n"
        "    print(list(LocalExecutor(workers=1).run(stateless(pow, 2), [5])))\n"
        "    sys.exit(0)\n"
    )
    run = campaign([job("typed", code)], 1, tmp_path / "logs")
    run.run()
    written = (tmp_path / "logs" / "typed.log").read_text().splitlines()
    expected = ["key=typed None", "from a child", "own format", "[(5, 32)]"]
    assert sorted(written) == sorted(expected)
    assert run.seconds["typed"] > 0


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("raise SystemExit('no such thing')", "no such thing"),
        ("sys.stderr.write('error: typo\\n'); sys.exit(2)", "error: typo"),
        ("1 / 0", "ZeroDivisionError"),
        ("print('bye', flush=True); os.kill(os.getpid(), 9)", "bye"),
    ],
)
def test_a_failure_is_named_and_the_rest_goes_on(
    tmp_path: Path, job: Callable[..., Job], code: str, written: str
):
    jobs = [
        job("bad", code),
        job("after bad", "raise AssertionError", ("bad",)),
        job("good", "open('done', 'w')"),
    ]
    with pytest.raises(CampaignError, match=r"2 of 3 jobs") as error:
        campaign(jobs, 1, tmp_path).run()
    assert (tmp_path / "done").exists()
    assert f"{typed(str(tmp_path / 'bad'))} key=bad" in str(error.value)
    assert written in (tmp_path / "bad.log").read_text()
    assert not (tmp_path / "after-bad.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_campaign_that_ends_lets_its_jobs_save_and_takes_them_along(
    tmp_path: Path, job: Callable[..., Job], number: signal.Signals
):
    """Otherwise the same command, given again, would train beside the old jobs."""
    code = (
        "import signal\n"
        "def save(*_):\n"
        "    open('saved', 'w').close()\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "signal.signal(signal.SIGINT, lambda *_: open('ctrl-c', 'w').close())\n"
        "open('writing', 'w').write(str(os.getpid()))\n"
        "os.rename('writing', 'pid')\n"
        "while True: time.sleep(0.1)"
    )
    sleeper = job("sleeper", code)
    parent = tmp_path / "campaign.py"
    parent.write_text(
        "from pathlib import Path\n"
        "from para.campaign.job import Job\n"
        "from para.campaign.run import CampaignRun\n"
        "from para.executors import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        f"    job = Job('sleeper', 'train', {sleeper.script!r}, ())\n"
        f"    CampaignRun([job], LocalExecutor(workers=1), Path({str(tmp_path)!r})).run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(parent)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    until(lambda: (tmp_path / "pid").exists(), 120)
    pid = int((tmp_path / "pid").read_text())
    # Ctrl-C goes to all processes of a terminal
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, messages = process.communicate(timeout=60)
    until(lambda: not psutil.pid_exists(pid))
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "ctrl-c").exists()
    assert messages.count("Traceback") == (number == signal.SIGINT)  # the parent's own
