"""What Slurm would be given, done by submitit's own stand-ins on this machine."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import stat

import pytest

from para.errors import ConfigError
from para.executors import Cargo, WorkerDied, WorkerError
from para.executors.slurm import AT_A_TIME, SlurmConfig, SlurmExecutor
from para.fields import check
from tests.executors.clusters import process_of_submitit, setup, until


def config(tmp_path, cluster="local", **changes) -> SlurmConfig:
    """With everything that is written in the folder of the test."""
    return SlurmConfig(name="slurm", cluster=cluster, folder=str(tmp_path / "slurm"), **changes)


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_blocks_of_tasks_are_done_once(tmp_path, cluster):
    executor = SlurmExecutor(config(tmp_path, cluster, block=3), workers=2)
    tasks = [("square", i) for i in range(5)]
    assert executor.ahead == (6 if cluster == "local" else 3)
    assert dict(executor.run(setup, tasks, Cargo([tmp_path]))) == {t: t[1] ** 2 for t in tasks}
    assert not list(tmp_path.glob(".seen*"))


def test_a_failure_is_told_and_the_rest_of_its_block_is_done(tmp_path):
    tasks = [("square", 2), ("refuse", "that"), ("square", 3)]
    done = {}
    with SlurmExecutor(config(tmp_path), workers=1).start(setup) as crew:
        for task in tasks:
            crew.submit(task)
        while len(done) < 3:
            done |= {one.task: one for one in crew.wait()}
        assert crew.wait() == []
    assert [done[task].value for task in tasks] == [4, None, 9]
    assert type(done[tasks[1]].error) is WorkerError
    assert str(done[tasks[1]].error) == "cannot do that"


def test_a_job_that_must_leave_is_requeued_with_what_is_left(tmp_path):
    """As Slurm does it near the time limit: SIGUSR2 to the job, which saves and comes back."""
    note = tmp_path / "started"
    tasks = [("square", 5), ("note and wait", str(note)), ("square", 6)]
    with SlurmExecutor(config(tmp_path), workers=1).start(setup) as crew:
        for task in tasks:
            crew.submit(task)
        assert crew.wait(timeout=0) == []
        until(note.exists)
        process_of_submitit().send_signal(signal.SIGUSR2)
        ended = crew.wait(timeout=60)
    assert [one.value for one in ended] == [25, "waited", 36]
    assert note.read_text().splitlines() == ["once", "once"]


@pytest.mark.slow
def test_a_job_that_is_killed_is_told(tmp_path):
    note = tmp_path / "started"
    with SlurmExecutor(config(tmp_path), workers=1).start(setup) as crew:
        crew.submit(("note and wait", str(note)))
        assert crew.wait(timeout=0) == []
        until(note.exists)
        process_of_submitit().kill()
        (done,) = crew.wait(timeout=60)
    assert isinstance(done.error, WorkerDied)
    assert "has left no result; see " in str(done.error)


def test_no_slurm_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(ConfigError, match=r"no Slurm here.*login node.*executor.cluster=local"):
        SlurmExecutor(config(tmp_path, "slurm"))
    with pytest.raises(ConfigError, match=r"executor.cores=1000.*Ask for less"):
        SlurmExecutor(config(tmp_path, cores=1000))
    with pytest.raises(ConfigError, match=r"executor.gpus=64.*Ask for less"):
        SlurmExecutor(config(tmp_path, "debug", gpus=64))
    with pytest.raises(ConfigError, match="minutes"):
        check(config(tmp_path, minutes=0))
    find_spec = importlib.util.find_spec
    missing = lambda name, *_: None if name == "submitit" else find_spec(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(ConfigError, match=r"pip install 'para-robot\[cluster\]'"):
        SlurmExecutor(config(tmp_path))


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Slurm's programs, of which sbatch runs a line of shell and takes the job."""

    def write(sbatch: str) -> None:
        for name in ("sbatch", "srun", "scancel", "sacct"):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            first = sbatch if name == "sbatch" else ""
            program.write_text(f'#!/bin/sh\n{first}\necho "Submitted batch job 77"\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    return write


@pytest.mark.parametrize("tasks", [1, 3])
def test_what_slurm_refuses_is_said(tmp_path, stand_ins, tasks):
    stand_ins("echo 'sbatch: error: invalid partition specified: gqu' >&2; exit 1")
    executor = SlurmExecutor(config(tmp_path, "slurm", partition="gqu", block=1))
    with executor.start(setup) as crew:
        for i in range(tasks):
            crew.submit(("square", i))
        with pytest.raises(ConfigError, match=r"(?s)invalid partition.*executor\.memory_gb="):
            crew.wait(timeout=0)


def test_what_slurm_is_asked_for(tmp_path, stand_ins):
    """A stand-in for sbatch keeps what it is given: one array, with limits and a signal."""
    stand_ins(f'cat "$1" > {tmp_path}/asked')
    cfg = config(tmp_path, "slurm", partition="gpu", minutes=90, cores=4, gpus=1, memory_gb=16.0)
    cfg.more = {"constraint": "a100"}
    assert SlurmExecutor(cfg).processes == AT_A_TIME
    assert cfg.told[:2] == ["executor=slurm", "executor.partition=gpu"]
    with SlurmExecutor(cfg, workers=3).start(setup, whole_scripts=True) as crew:
        for i in range(5):
            crew.submit(("square", i))
        assert crew.wait(timeout=0) == []
        asked = (tmp_path / "asked").read_text()
    for words in (
        "--array=0-4%3",
        "--partition=gpu",
        "--time=90",
        "--cpus-per-task=4",
        "--gpus-per-node=1",
        "--mem=16",
        "--constraint=a100",
        "--signal=USR2@90",
    ):
        assert words in asked
