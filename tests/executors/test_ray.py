"""Ray on two nodes of this machine: results and files come back, the dead are missed, errors."""

from __future__ import annotations

import importlib.util
import logging
import socket
import subprocess
import sys

import pytest

import para.executors.ray as ray_executor
from para.errors import ConfigError, UnknownNameError
from para.executors import EXECUTORS, Cargo, build_executor
from para.executors.ray import RayConfig, RayExecutor
from para.fields import check
from para.places import ROOT
from tests.executors.clusters import setup


def config(cluster=None, **changes) -> RayConfig:
    """Of the cluster of the tests."""
    return RayConfig(name="ray", address=cluster and cluster.address, **changes)


@pytest.mark.slow
def test_two_nodes_do_everything_once_and_files_travel(cluster, tmp_path, caplog):
    """No file is shared (carry), one process is killed, and one task cannot be done."""
    source, target = tmp_path / "in" / "a.txt", tmp_path / "out"
    source.parent.mkdir()
    source.write_text("hello")
    cargo = Cargo(
        [tmp_path],
        lambda task: [source.parent] if task[0] == "copy" else [],
        lambda task: [task[1][1]] if task[0] == "copy" else [],
    )
    copies = [("copy", (source, target / f"b{i}.txt")) for i in range(3)]
    tasks = [("square", 3), ("refuse", "that"), ("die once", str(tmp_path / "died")), *copies]
    tasks += [("node", 0.5)] * 8
    executor = RayExecutor(config(cluster, carry=True))
    ended = []
    with caplog.at_level(logging.WARNING), executor.start(setup, cargo=cargo) as crew:
        assert executor.processes == 2
        for task in tasks:
            crew.submit(task)
        while len(ended) < len(tasks):
            ended += crew.wait(timeout=1)
        assert crew.wait() == []
    values = {done.task: done.value for done in ended}
    assert values[tasks[0]] == 9
    assert values[tasks[2]] == "alive"
    (refused,) = (done for done in ended if done.error)
    assert (refused.task, str(refused.error)) == (("refuse", "that"), "cannot do that")
    assert [path.read_text() for path in sorted(target.iterdir())] == ["HELLO"] * 3
    assert all(str(tmp_path) != str(values[copy])[: len(str(tmp_path))] for copy in copies)
    assert len({done.value for done in ended if done.task[0] == "node"}) >= 2
    (said,) = (r.getMessage() for r in caplog.records if "again" in r.getMessage())
    assert "die once" in said
    assert "SIGKILL" in said
    assert said.endswith("Doing it again (1 of 3).")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cores": 64}, ["A job needs 64 cores", "1 cores; 1 cores", "wait for ever"]),
        ({"gpus": 2}, ["2 GPUs", "executor.gpus="]),
        ({"memory_gb": 1e6}, ["1e+06 GB"]),
    ],
)
def test_more_than_there_is_would_be_waited_for_for_ever(cluster, changes, words):
    with pytest.raises(ConfigError) as error:
        RayExecutor(config(cluster, **changes)).start(setup)
    assert [word for word in words if word not in str(error.value)] == []


def test_an_address_where_no_cluster_answers(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be reached.*refused"):
        RayExecutor(RayConfig(name="ray", address=f"127.0.0.1:{port}"))
    monkeypatch.setattr(ray_executor, "ANSWER_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"no head of a Ray cluster.*6379.*8265"):
            RayExecutor(RayConfig(name="ray", address=address))
    for wrong in ("head", "head:port", ":6379", "head:70000", "ray://head"):
        with pytest.raises(ConfigError, match="must be HOST:PORT"):
            RayExecutor(RayConfig(name="ray", address=wrong))


def test_nonsense_is_refused_at_once(monkeypatch):
    for changes in (
        *({"cores": 0}, {"gpus": -1}, {"retries": -1}, {"memory_gb": float("nan")}),
        *({"gpus": 1.5}, {"gpu_share": 2.5}),
    ):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            check(config(**changes))
    with pytest.raises(ConfigError, match="too many for the"):
        RayExecutor(config(), workers=1000)
    with pytest.raises(ConfigError, match=r"executor.cores=1000.*wait for ever"):
        RayExecutor(config(cores=1000.0), workers=1)
    with pytest.raises(UnknownNameError, match="Did you mean 'ray'"):
        build_executor(RayConfig(kind="rya"), 1)
    find_spec = importlib.util.find_spec
    missing = lambda name, *_: None if name == "ray" else find_spec(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(ConfigError, match=r"pip install 'para-robot\[cluster\]'"):
        RayExecutor(config())


def test_scripts_of_a_campaign_are_told_where_the_cluster_is():
    assert config().told == []
    told = RayConfig(name="ray", address="head:6379", cores=2.0, carry=True).told
    assert told[:3] == ["executor=ray", "executor.address=head:6379", "executor.cores=2.0"]
    assert told[-1] == "executor.carry=true"


def test_nobody_imports_ray_who_does_not_use_it():
    assert {"local", "ray"} <= set(EXECUTORS)
    code = (
        "import sys\n"
        "from para.executors import EXECUTORS, build_executor\n"
        "for kind in EXECUTORS:\n"
        "    EXECUTORS.config(kind)\n"
        "build_executor(EXECUTORS.load('ray'), 1)\n"
        "assert not {'ray', 'submitit', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
