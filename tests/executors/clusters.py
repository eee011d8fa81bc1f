"""A Ray cluster of two nodes on this machine, and tasks that are cheap and tell where they ran."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from para.errors import ConfigError
from para.executors import here

QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 4,
    "worker_niceness": 0,
}
"""A node that is gone is missed within seconds, not one that is only slow to answer; and processes
do not give way to all others."""


NAME = "PARA_TEST_NODE"
"""Environment variable of a node, for tasks that tell where they were done."""


@contextmanager
def third_node(cluster: Any, name: str, **environment: str) -> Iterator[Any]:
    """One more node, with a name and an environment; it may be gone at the end."""
    node = cluster.add_node(num_cpus=1, env_vars={NAME: name, **environment})
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Two nodes of one core each, with names as resources ("one", "two")."""
    from ray.cluster_utils import Cluster

    first = {"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=first)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def setup() -> Callable[[Any], Any]:
    """A worker that does what the first word of a task says."""
    return _work


def _work(task: tuple[str, Any]) -> Any:
    kind, value = task
    if kind == "square":
        return value * value
    if kind == "refuse":
        raise ConfigError(f"cannot do {value}")
    if kind == "raise":
        raise ValueError(f"no {value}")
    if kind == "node":
        time.sleep(value)
        return os.environ["RAY_NODE_ID"] if "RAY_NODE_ID" in os.environ else os.getppid()
    if kind == "die once":  # value: a file that tells whether it died before
        return _work(("die", (value, 1)))
    if kind == "die":  # value: (a file that tells how often it died, how often it has to)
        path, times = value
        _note(Path(path))
        if len(Path(path).read_text().splitlines()) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"
    if kind == "last":  # value: (a folder where it notes that it began, a name, seconds)
        folder, name, seconds = value
        node = os.environ.get(NAME, "one of two")
        _note(Path(folder) / name, node)
        time.sleep(seconds)
        if node == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        return node
    if kind == "note and wait":  # value: a file that tells how often it was begun
        _note(Path(value))
        if len(Path(value).read_text().splitlines()) == 1:
            time.sleep(60)
        return "waited"
    if kind == "copy":  # value: (from, to)
        source, target = map(here, value)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text().upper())
        return str(target)
    raise AssertionError(kind)


def _note(path: Path, what: str = "once") -> None:
    with path.open("a") as file:
        file.write(f"{what}\n")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def process_of_submitit() -> psutil.Process:
    """The one that does the job which submitit's stand-in for Slurm runs on this machine."""
    commands = {p: " ".join(p.cmdline()) for p in psutil.Process().children()}
    (controller,) = (process for process, command in commands.items() if "_local" in command)
    (job,) = controller.children()
    return job
