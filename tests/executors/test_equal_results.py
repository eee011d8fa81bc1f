"""The same campaign ends in the same files, wherever its jobs run."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from para.campaign.config import ReproduceConfig
from para.campaign.job import Job, log_file, run_script
from para.campaign.plan import plan
from para.campaign.run import CampaignRun
from para.cli import load_config
from para.evaluation.config import EvalConfig
from para.evaluation.runner import evaluate
from para.executors import Cargo, ExecutorConfig, LocalConfig, build_executor, stateless
from para.executors.ray import RayConfig
from para.executors.slurm import SlurmConfig
from tests.executors.clusters import process_of_submitit, until

pytestmark = pytest.mark.slow

DEMOS = 3
MORE = {
    "demos": [f"limit={DEMOS}", "preview=false", "workers=2"],
    "train": [
        "training.steps=2",
        "training.warmup_steps=1",
        f"limit={DEMOS}",
        "training.batch_size=2",
        "heatmap_size=16",
    ],
    "eval": ["env.max_steps=12", "batch=2"],
}


def run_campaign(root: Path, name: str, executor: ExecutorConfig, workers: int) -> dict[str, Any]:
    """Demos (if there are none), one training and two evaluations; what they left, by path."""
    folders = {f"{key}_dir": root / name / key for key in ("runs", "results", "outputs")}
    folders["data_dir"] = root / "data"
    asked = ["profile=smoke", "splits=[distractor,appearance]", "models=[para]", "episodes=2"]
    asked += [
        "starts=dev",
        "appearance=varied",
        "website=false",
        *(f"{k}={v}" for k, v in folders.items()),
    ]
    planned = plan(load_config(ReproduceConfig, asked))
    jobs = [
        replace(job, arguments=(*job.arguments, *MORE[job.kind]), needs=job.needs[-1:])
        for job in planned.jobs
    ]
    if folders["data_dir"].exists() and executor.name != "ray":
        jobs = [replace(job, needs=()) if job.kind == "train" else job for job in jobs[1:]]
    run = CampaignRun(
        jobs, build_executor(executor, workers), root / name / "log", [*folders.values()]
    )
    run.run()
    assert set(run.seconds) == {job.name for job in jobs}
    return left_in(root / name)


def left_in(root: Path) -> dict[str, Any]:
    """Weights as bytes, results without times, by path."""
    weights = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("policy.safetensors")}
    results = root.glob("results/**/*.json")
    return weights | {str(path.relative_to(root)): untimed(path) for path in results}


def untimed(path: Path) -> dict[str, Any]:
    """A result without what may differ between two runs of the same evaluation."""
    result = json.loads(path.read_text())
    for name in ("created", "hardware", "git", "checksum"):
        del result[name]
    for name in ("minutes", "samples_per_s"):
        result["training"].pop(name, None)
    del result["evaluation"]["seconds"]
    for episode in result["episodes"]:
        del episode["seconds"]
    return result


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """What one process of this machine makes."""
    root = tmp_path_factory.mktemp("equal")
    return root, run_campaign(root, "alone", LocalConfig(), 1)


def test_one_process_leaves_weights_and_results(alone):
    _, left = alone
    assert sorted(Path(name).name for name in left) == [
        "policy.safetensors",  # of the run, and of its checkpoint
        "policy.safetensors",
        "seed0.json",
        "seed0.json",
    ]


@pytest.mark.long
def test_two_processes(alone):
    root, expected = alone
    assert run_campaign(root, "two", LocalConfig(), 2) == expected


def test_two_nodes_of_ray_that_share_no_file(alone, cluster):
    """The trained policy comes back and goes out again, the log of each job too."""
    root, expected = alone
    ray = RayConfig(name="ray", address=cluster.address, carry=True)
    assert run_campaign(root, "ray", ray, 2) == expected
    logs = sorted(path.name for path in (root / "ray" / "log").glob("*.log"))
    assert [name.split("-")[0] for name in logs] == ["demos", "eval", "eval", "train"]
    assert not list((root / "ray").rglob(".seen*"))


def test_jobs_of_submitit(alone):
    root, expected = alone
    slurm = SlurmConfig(name="slurm", cluster="local", folder=str(root / "slurm" / "jobs"))
    assert run_campaign(root, "slurm", slurm, 2) == expected


@pytest.mark.long
def test_a_training_that_is_requeued_is_the_same_to_the_bit(alone):
    """Its job has to leave, as Slurm lets it near the time limit: it saves, comes back, goes on."""
    root, _ = alone

    def train(name: str, executor: ExecutorConfig, leaves: bool) -> str:
        """Train into root/name; what the job wrote."""
        place = root / name
        asked = ["profile=smoke", "split=distractor", "appearance=varied", *MORE["train"]]
        asked += ["training.steps=40", "training.checkpoint_every=4", "workers=1"]
        asked += [f"data_dir={root / 'data'}", f"runs_dir={place / 'runs'}"]
        job = Job("train", "train", "train", tuple(asked))
        setup, cargo = stateless(run_script, place), Cargo([place, root / "data"])
        with build_executor(executor, 1).start(setup, whole_scripts=True, cargo=cargo) as crew:
            crew.submit(job)
            ended = crew.wait(timeout=0)
            if leaves:
                until(lambda: list(place.rglob("checkpoint/state.json")), 240)
                process_of_submitit().send_signal(signal.SIGUSR2)
            (done,) = ended or crew.wait(timeout=240)
        assert done.error is None
        return log_file(place, job).read_text()

    train("undisturbed", LocalConfig(name="local"), leaves=False)
    slurm = SlurmConfig(name="slurm", cluster="local", folder=str(root / "requeued" / "jobs"))
    said = train("requeued", slurm, leaves=True)
    (step,) = map(int, re.findall(r"Resuming .* at step (\d+)", said))
    assert 0 < step < 40
    for name in ("policy", "checkpoint/policy", "checkpoint/ema", "checkpoint/optimizer"):
        (a,), (b,) = (
            root.glob(f"{place}/runs/*/*/*/*/seed0/{name}.safetensors")
            for place in ("undisturbed", "requeued")
        )
        assert a.read_bytes() == b.read_bytes(), name


@pytest.mark.long
def test_chunks_of_an_evaluation_on_two_nodes(alone, cluster):
    """`eval.py executor=ray`: chunks of one policy, side by side, end in the same result."""
    root, expected = alone
    asked = [
        "profile=smoke",
        "split=distractor",
        "appearance=varied",
        "episodes=2",
        "batch=1",
        "env.max_steps=12",
    ]
    folders = {"runs": root / "alone" / "runs", "results": root / "chunks" / "results"}
    folders |= {"data": root / "data", "outputs": root / "chunks" / "outputs"}
    asked += [f"{key}_dir={path}" for key, path in folders.items()]
    cfg = load_config(EvalConfig, [*asked, "executor=ray", f"executor.address={cluster.address}"])
    cfg.executor.carry = True
    evaluate(cfg)
    (name,) = left_in(root / "chunks")
    found, known = left_in(root / "chunks")[name], expected[name]
    assert found["episodes"] == known["episodes"]
