"""Processes that work, raise, die: nothing that others have done is lost."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from para.errors import ConfigError
from para.evaluation.pool import WorkerError, run_parallel


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
    results = dict(run_parallel(_setup, tasks, processes=2))
    assert results == {("square", i): i * i for i in range(7)}
    assert list(run_parallel(_setup, [], processes=2)) == []


def test_processes_are_single_threaded_and_the_parent_is_left_alone(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ((_, (threads, pid)),) = run_parallel(_setup, [("environment", "OMP_NUM_THREADS")], 1)
    assert threads == "1"
    assert pid != os.getpid()
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the user's choice is respected
    ((_, (threads, _)),) = run_parallel(_setup, [("environment", "OMP_NUM_THREADS")], 1)
    assert threads == "3"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (("raise", "luck"), "ValueError: no luck"),
        (("refuse", "that"), "^cannot do that$"),
        (("die", "memory"), r"SIGKILL.*try fewer workers.*\nout of memory"),
    ],
)
def test_a_failure_is_told_and_the_work_of_others_is_kept(task, message):
    done = []

    def consume():
        for finished, value in run_parallel(_setup, tasks, processes=2):
            done.append((finished, value))

    tasks = [task, ("slow", 3), ("square", 4), ("square", 5)]
    with pytest.raises(WorkerError, match=message):
        consume()
    assert (("slow", 3), 9) in done  # it was in flight when the other failed


def test_a_worker_that_cannot_be_built():
    with pytest.raises(WorkerError, match="no model here"):
        list(run_parallel(_broken_setup, [("square", 1)], processes=1))


def test_no_process_is_left_when_the_consumer_stops():
    results = run_parallel(_setup, [("environment", "PATH")] * 9, processes=2)
    _, (_, pid) = next(results)
    results.close()
    assert not Path(f"/proc/{pid}").exists()
