"""Nodes, processes and drivers that die: what is finished stays, and what is repeated is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from para.errors import ConfigError
from para.executors import Cargo, WorkerDied
from para.executors.ray import RayConfig, RayExecutor
from para.places import ROOT
from tests.executors.clusters import setup, third_node

pytestmark = pytest.mark.slow


def config(cluster: Any, **changes: Any) -> RayConfig:
    """Of the cluster of the tests."""
    return RayConfig(name="ray", address=cluster.address, **changes)


def lasting(folder: Path, number: int, seconds: float) -> list[tuple[str, Any]]:
    """Tasks that note that they began."""
    return [("last", (str(folder), f"task{i:02d}", seconds)) for i in range(number)]


def begun(folder: Path) -> dict[str, int]:
    """How often each task was begun."""
    return {path.name: len(path.read_text().splitlines()) for path in folder.glob("task*")}


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """Warnings with these words."""
    return [r.getMessage() for r in caplog.records if words in r.getMessage()]


def test_a_node_dies_and_another_comes_late(cluster, tmp_path, caplog):
    """The tasks of the dead one are done again, which is told; the late one gets some."""
    folder = tmp_path / "a_folder_with_a_name_that_alone_fills_most_of_a_line"
    folder.mkdir()
    tasks, ended = lasting(folder, 30, 0.7), {}

    def in_the_middle(node: str) -> bool:
        done = {name for _, (_, name, _) in ended}
        return any(
            path.name not in done and path.read_text() == f"{node}\n"
            for path in folder.glob("task*")
        )

    with third_node(cluster, "dying") as dying, RayExecutor(config(cluster)).start(setup) as crew:
        for task in tasks:
            crew.submit(task)
        _collect(crew, ended, lambda: "dying" in ended.values() and in_the_middle("dying"))
        cluster.remove_node(dying, allow_graceful=False)
        with third_node(cluster, "late"):
            _collect(crew, ended, lambda: len(ended) == len(tasks))
    assert {"dying", "late"} < set(ended.values())
    assert set(ended) == set(tasks)
    again = {name for name, times in begun(folder).items() if times > 1}
    told = said(caplog, "Doing it again (1 of 3)")
    assert 1 <= len(again) <= len(told)
    assert all(any(name in line for line in told) for name in again)
    assert all("Its node or process is gone" in line for line in told)


def _collect(crew: Any, ended: dict[Any, Any], until: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not until():
        assert time.monotonic() < end, f"waited in vain: {ended}"
        for done in crew.wait(timeout=0.2):
            assert done.error is None
            assert done.task not in ended
            ended[done.task] = done.value


@pytest.mark.long
def test_a_process_is_killed_twenty_times(cluster, tmp_path, caplog):
    tasks = [("die", (str(tmp_path / f"task{i}"), 5)) for i in range(4)]
    values = dict(RayExecutor(config(cluster, retries=5)).run(setup, tasks))
    assert values == dict.fromkeys(tasks, "alive")
    assert set(begun(tmp_path).values()) == {6}
    assert len(said(caplog, "Doing it again")) == 20


def test_what_dies_too_often_is_given_up(cluster, tmp_path):
    task = ("die", (str(tmp_path / "task"), 9))
    with pytest.raises(WorkerDied, match=r"SIGKILL.*\n?.*It was tried 2 times"):
        list(RayExecutor(config(cluster, retries=1)).run(setup, [task]))
    assert begun(tmp_path) == {"task": 2}


@pytest.fixture
def other_packages(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which another version of a package is installed."""
    place = tmp_path / "packages" / "safetensors-0.0.1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: safetensors\nVersion: 0.0.1\n")
    return str(place.parent)


@pytest.fixture
def full_disk(tmp_path: Path) -> str:
    """A folder for PYTHONPATH with which every disk seems full."""
    place = tmp_path / "disk"
    place.mkdir()
    code = "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(1, 1, 0)\n"
    (place / "sitecustomize.py").write_text(code)
    return str(place)


def test_a_node_with_other_packages_does_nothing(cluster, tmp_path, caplog, other_packages):
    """There at the start, it is an error before any work; late, it is left out."""
    executor = RayExecutor(config(cluster))
    tasks = lasting(tmp_path, 12, 0.7)
    told = r"runs something else.*: safetensors 0.0.1 instead"
    other = third_node(cluster, "other", PYTHONPATH=other_packages)
    with other, pytest.raises(ConfigError, match=told):
        list(executor.run(setup, tasks))
    assert begun(tmp_path) == {}
    ended: dict[Any, Any] = {}
    with executor.start(setup) as crew:
        for task in tasks:
            crew.submit(task)
        _collect(crew, ended, lambda: len(ended) > 0)
        with third_node(cluster, "other", PYTHONPATH=other_packages):
            more = iter(lasting(tmp_path, 200, 0.3)[len(tasks) :])

            def warned() -> bool:
                if len(ended) >= len(tasks) - 4:
                    tasks.append(next(more))
                    crew.submit(tasks[-1])
                return bool(said(caplog, "gets no more tasks"))

            _collect(crew, ended, warned)
            _collect(crew, ended, lambda: len(ended) == len(tasks))
    assert set(ended.values()) == {"one of two"}
    assert set(begun(tmp_path).values()) == {1}
    (told,) = said(caplog, "gets no more tasks")
    assert "safetensors 0.0.1 instead of" in told


def test_a_node_with_a_full_disk_is_left_alone(cluster, tmp_path, caplog, full_disk):
    tasks = lasting(tmp_path, 9, 0.5)
    with third_node(cluster, "full", PYTHONPATH=full_disk):
        ended = dict(RayExecutor(config(cluster)).run(setup, tasks, Cargo([tmp_path])))
    assert set(ended) == set(tasks)
    assert set(ended.values()) == {"one of two"}
    assert "has 0 MB free" in said(caplog, "gets no more tasks")[0]


@pytest.mark.long
def test_a_driver_that_is_interrupted_or_killed_goes_on(cluster, tmp_path):
    """`generate_demos.py executor=ray`, ended by Ctrl-C, then by SIGKILL, then left alone."""
    folder = tmp_path / "data" / "bowl_on_plate-hand-together" / "objpos-48px"
    command = [sys.executable, str(ROOT / "scripts" / "generate_demos.py"), "robot=hand", "limit=8"]
    command += ["env.image_size=48", "preview=false", f"data_dir={tmp_path / 'data'}"]
    command += ["executor=ray", f"executor.address={cluster.address}"]
    made: dict[Path, tuple[int, int]] = {}

    def call(wanted: int, number: signal.Signals | None) -> tuple[int, str]:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path
        )
        while number and process.poll() is None and len(list(folder.glob("demo*"))) < wanted:
            time.sleep(0.05)
        if number:
            process.send_signal(number)
        _, messages = process.communicate(timeout=120)
        for path, stamp in made.items():  # what was finished before was not touched
            assert (path.stat().st_ino, path.stat().st_mtime_ns) == stamp
        for path in folder.glob("demo*"):
            made[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
        return process.returncode, messages

    code, messages = call(1, signal.SIGINT)
    assert (code, messages.strip().splitlines()[-1]) == (
        130,
        "Interrupted. The same command goes on where it stopped.",
    )
    assert call(len(made) + 2, signal.SIGKILL)[0] == -signal.SIGKILL
    assert 3 <= len(made) < 8
    assert call(8, None)[0] == 0
    assert len(made) == 8
    assert [name for name in os.listdir(folder) if name.startswith((".demo", ".seen"))] == []
