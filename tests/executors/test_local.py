"""Processes that work, raise, die: nothing that others have done is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from para.errors import ConfigError, UnknownNameError
from para.executors import EXECUTORS, LocalExecutor, WorkerDied, WorkerError, build_executor
from para.executors.local import LocalConfig
from para.system import WORKERS_PER_CORE, available_cores, set_threads

ROOT = Path(__file__).parents[2]


def _setup():
    return _work


def _work(task):
    kind, value = task
    if kind == "raise":
        raise ValueError(f"no {value}")
    if kind == "refuse":
        raise ConfigError(f"cannot do {value}")
    if kind == "die":
        sys.stderr.write(f"out of {value}\n")
        sys.stderr.flush()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "environment":
        return os.environ.get(value), os.getpid()
    if kind == "slow":
        time.sleep(1.0)
    return value * value


def _broken_setup():
    raise RuntimeError("no model here")


def test_all_tasks_are_done_once():
    tasks = [("square", i) for i in range(7)]
    results = dict(LocalExecutor(workers=2).run(_setup, tasks))
    assert results == {("square", i): i * i for i in range(7)}
    assert list(LocalExecutor(workers=2).run(_setup, [])) == []


def test_processes_are_single_threaded_and_the_parent_is_left_alone(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ((_, (threads, pid)),) = LocalExecutor(workers=1).run(
        _setup, [("environment", "OMP_NUM_THREADS")]
    )
    assert threads == "1"
    assert pid != os.getpid()
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the user's choice is respected
    ((_, (threads, _)),) = LocalExecutor(workers=1).run(
        _setup, [("environment", "OMP_NUM_THREADS")]
    )
    assert threads == "3"


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (("raise", "luck"), WorkerError, "ValueError: no luck"),
        (("refuse", "that"), WorkerError, "^cannot do that$"),
        (("die", "memory"), WorkerDied, r"SIGKILL.*try fewer workers.*\nout of memory"),
    ],
)
def test_a_failure_is_told_and_the_work_of_others_is_kept(task, error, message):
    done = []

    def consume():
        for finished, value in LocalExecutor(workers=2).run(_setup, tasks):
            done.append((finished, value))

    tasks = [task, ("slow", 3), ("square", 4), ("square", 5)]
    with pytest.raises(WorkerError, match=message) as caught:
        consume()
    assert caught.type is error
    assert (("slow", 3), 9) in done  # it was in flight when the other failed


def test_a_worker_that_cannot_be_built():
    with pytest.raises(WorkerError, match="no model here"):
        list(LocalExecutor(workers=1).run(_broken_setup, [("square", 1)]))


def test_no_process_is_left_when_the_consumer_stops():
    results = LocalExecutor(workers=2).run(_setup, [("environment", "PATH")] * 9)
    _, (_, pid) = next(results)
    results.close()
    assert not Path(f"/proc/{pid}").exists()


def test_submitted_tasks_go_on_after_a_failure():
    """`run` stops then; who submits tasks one by one decides for himself."""
    tasks = [("raise", "luck"), ("square", 3), ("square", 4)]
    ended = {}
    with LocalExecutor(workers=1).start(_setup) as crew:
        assert crew.wait() == []
        for task in tasks:
            crew.submit(task)
        while len(ended) < len(tasks):
            ended |= {done.task: done for done in crew.wait(timeout=60)}
    assert [ended[task].value for task in tasks] == [None, 9, 16]
    assert "no luck" in str(ended[tasks[0]].error)


def test_one_process_does_many_tasks_but_each_script_has_its_own():
    def processes(whole_scripts):
        with LocalExecutor(workers=1).start(_setup, whole_scripts) as crew:
            for _ in range(2):
                crew.submit(("environment", "PATH"))
            return {done.value[1] for _ in range(2) for done in crew.wait()}

    assert len(processes(whole_scripts=False)) == 1
    assert len(processes(whole_scripts=True)) == 2


def test_more_processes_than_make_sense_are_refused():
    most = WORKERS_PER_CORE * available_cores()
    assert LocalExecutor(workers=most).processes == most
    assert LocalExecutor().processes == available_cores()
    for number in (most + 1, 100_000):
        with pytest.raises(ConfigError, match=f"workers={number} is too many.*at most {most}"):
            LocalExecutor(workers=number)
        with pytest.raises(ConfigError, match="too many"):
            set_threads(number)


def test_executors_are_components():
    assert "local" in EXECUTORS
    assert isinstance(build_executor(LocalConfig(name="local"), 2), LocalExecutor)
    with pytest.raises(UnknownNameError, match="Did you mean 'local'"):
        build_executor(LocalConfig(name="near", kind="locl"), 2)


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from worker import setup
from para.executors import LocalExecutor
if __name__ == "__main__":
    try:
        list(LocalExecutor(workers=4).run(setup, range(4)))
    except KeyboardInterrupt:
        print("interrupted")
"""
WORKER = """
import multiprocessing, os, time
from pathlib import Path

def setup():
    Path({folder!r}, f"built{{os.getpid()}}").touch()
    time.sleep(60)

if multiprocessing.current_process().name != "MainProcess":
    Path({folder!r}, f"importing{{os.getpid()}}").touch()
    time.sleep(0.5)
"""


@pytest.fixture
def parent(tmp_path):
    """A program whose workers take their time to start, in a session as a terminal has it."""
    (tmp_path / "worker.py").write_text(WORKER.format(folder=str(tmp_path)))
    (tmp_path / "parent.py").write_text(PARENT.format(folder=str(tmp_path)))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    yield process
    process.kill()
    process.communicate()


def _wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("stage", ["importing", "built"])
def test_ctrl_c_while_workers_start_says_nothing_else(parent, tmp_path, stage):
    """It goes to all processes of a terminal, also to those that are importing what they need."""
    _wait_until(lambda: list(tmp_path.glob(f"{stage}*")))
    children = psutil.Process(parent.pid).children()
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=60) == ("interrupted\n", "")
    _wait_until(lambda: not any(child.is_running() for child in children))


def test_workers_do_not_outlive_their_parent(parent, tmp_path):
    _wait_until(lambda: len(list(tmp_path.glob("built*"))) == 4)
    children = psutil.Process(parent.pid).children()
    parent.kill()
    _wait_until(lambda: not any(child.is_running() for child in children))
