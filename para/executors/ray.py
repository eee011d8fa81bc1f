"""Processes on the nodes of a Ray cluster, or of one that is started here for the command.

Ray decides where a task runs and tells when a node is gone. What is left to do here: look whether
the nodes run the same code, hand tasks over with what they read, and decide what becomes of one
whose node, or process, died: it is done again, at most `retries` times, and that is said.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from para.errors import ConfigError, one_line
from para.executors.agreement import this_build
from para.executors.base import (
    EXECUTORS,
    Crew,
    Done,
    Executor,
    ExecutorConfig,
    Setup,
    WorkerDied,
    WorkerError,
)
from para.executors.cargo import Cargo, marked, pack, unpack, version_of
from para.executors.local import GRACE_S
from para.executors.ray_nodes import Nodes, work
from para.executors.remote import Answer, Errand
from para.extras import require_packages
from para.fields import number, require
from para.registry import plugins
from para.system import available_cores, worker_count

log = logging.getLogger(__name__)

REACH_S = 5.0
"""Time that the head of a cluster has to be reached [s]."""
ANSWER_S = 20.0
"""Time that it has to say that it is one [s]."""
KEPT_BUNDLES = 8
"""Files and folders that are kept in Ray's memory for the tasks that come."""


@dataclass
class RayConfig(ExecutorConfig):
    """configs/executor/ray.yaml"""

    kind: str = "ray"
    address: str | None = None
    """HOST:PORT of a cluster's head, or auto: the one that this machine belongs to. null: one is
    started on this machine and ended with the command."""
    cores: float = number(1.0, above=0)
    """Of a job."""
    gpus: float | None = number(None, least=0)
    """Of a training; null: one where the cluster has any."""
    gpu_share: float = number(0.25, least=0)
    """Of a GPU for everything else (evaluations, demos), where the cluster has any."""
    memory_gb: float | None = number(None, above=0)
    """Of a job; null: Ray does not look at memory."""
    retries: int = number(3, least=0, most=1000)
    """How often a job is begun again whose node or process died."""
    carry: bool = False
    """Send files through Ray even to nodes that see the driver's folders."""

    def rules(self, key: str, run: Any) -> None:
        """Parts of a GPU are parts of one."""
        for name in ("gpus", "gpu_share"):
            value = getattr(self, name) or 0
            require(
                value <= 1 or value == int(value),
                f"{key}.{name}={value:g} must be a part of one GPU, or a whole number of them.",
            )

    @property
    def told(self) -> list[str]:
        """See `ExecutorConfig`. A cluster of this machine's has nothing to add to it."""
        if self.address is None:
            return []
        values = {key: getattr(self, key) for key in ("address", "cores", "gpu_share", "retries")}
        words = [f"executor.{key}={value}" for key, value in values.items()]
        words += [f"executor.memory_gb={self.memory_gb}"] if self.memory_gb else []
        return ["executor=ray", *words, *(["executor.carry=true"] if self.carry else [])]


@EXECUTORS.register("ray", RayConfig)
class RayExecutor(Executor):
    """A Ray cluster.

    Args:
        cfg: Which one, and what a job needs of it.
        workers: Jobs at a time; None: as many as the cluster has room for.

    Raises:
        ConfigError: Ray is not installed, no Ray answers at the address, or there is none and a job
            asks for more cores than this machine has.
    """

    elsewhere: ClassVar[bool] = True

    def __init__(self, cfg: RayConfig, workers: int | None = None):
        self.cfg, self.workers = cfg, workers
        self._nodes: Nodes | None = None
        require_packages("cluster", "ray")
        if cfg.address is None:
            worker_count(workers)
            require(
                cfg.cores <= available_cores(),
                f"executor.cores={cfg.cores:g}, but this machine has {available_cores()}: a job "
                "would wait for ever. Ask for less, or name a cluster (executor.address=).",
            )
        elif cfg.address != "auto":
            _require_reachable(cfg.address)

    @property
    def processes(self) -> int:  # type: ignore[override]
        """Room in the cluster as it is now, at most `workers`."""
        room = self._nodes.room() if self._nodes else available_cores()
        return min(room, self.workers or room)

    def start(self, setup: Setup, whole_scripts: bool = False, cargo: Cargo | None = None) -> Crew:
        """See `Executor.start`.

        Raises:
            ConfigError: There is no cluster, no node has what a job needs, or nodes run other code
                or packages than this machine.
        """
        cleanup = ExitStack()
        try:
            connect(self.cfg, self.workers)
            cleanup.callback(_disconnect)
            self._nodes = Nodes(self.cfg)
            cleanup.callback(setattr, self, "_nodes", None)
            self._nodes.require_room()
            marks = cleanup.enter_context(marked(cargo.folders if cargo else []))
            errand = Errand(
                f"{os.getpid()}-{time.time_ns()}", setup, whole_scripts, Path.cwd(),
                *(this_build(plugins()), plugins(), marks, self.cfg.carry),
            )  # fmt: skip
            blind = self._nodes.look(errand)
            return RayCrew(self.cfg, self._nodes, errand, cargo, blind, cleanup)
        except BaseException:
            cleanup.close()
            raise


def _require_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    require(
        bool(host) and port.isdigit() and 0 < int(port) < 65536,
        f"executor.address={one_line(address)} must be HOST:PORT of a cluster's head, or auto.",
    )
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError as error:
        raise ConfigError(
            f"executor.address={one_line(address)} cannot be reached ({error.strerror or error}). "
            "Is the cluster up (ray status there), and the port open? Without executor.address a "
            "cluster is started on this machine."
        ) from error
    # Ray itself would ask whatever listens there for minutes.
    asking = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        subprocess.run(asking, capture_output=True, timeout=ANSWER_S)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"executor.address={one_line(address)}: what listens there is no head of a Ray cluster "
            f"(no answer in {ANSWER_S:g} s). Its port is the one of ray start --head --port=, 6379 "
            "if nothing was said; not the dashboard's (8265), nor the client's (10001)."
        ) from error


def connect(cfg: RayConfig, workers: int | None) -> None:
    """Join the cluster of a configuration, or start one with room for so many jobs.

    Raises:
        ConfigError: Nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cfg.address is None:
        cores = max(available_cores(), math.ceil((workers or 1) * cfg.cores))
        room = worker_count(None) if workers is None else cores
        options |= {"address": "local", "num_cpus": room, "include_dashboard": False}
        options |= {"_system_config": {"worker_niceness": 0}}  # as executor=local
    else:
        options |= {"address": cfg.address}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"executor.address={cfg.address}: no Ray cluster answers there "
            f"({one_line(error, 300)})."
        ) from error


def _disconnect() -> None:
    import ray

    ray.shutdown()


@dataclass
class Flight:
    """A task that was handed to Ray."""

    task: Any
    alone: bool
    tries: int = 0


class RayCrew(Crew):
    """Tasks that Ray was handed, by Ray's names of their results (`flying`)."""

    def __init__(
        self,
        cfg: RayConfig,
        nodes: Nodes,
        errand: Errand,
        cargo: Cargo | None,
        carrying: bool,
        cleanup: ExitStack,
    ):
        import ray

        self._cfg, self._nodes, self._cargo = cfg, nodes, cargo
        self._whole_scripts, self._carrying = errand.whole_scripts, carrying
        self._cleanup = cleanup
        self._errand = ray.put(errand)
        self._work = ray.remote(work)
        self.flying: dict[Any, Flight] = {}
        self._ended: list[Done] = []
        self._bundles: OrderedDict[Any, Any] = OrderedDict()

    def submit(self, task: Any, alone: bool = False) -> None:
        """See `Crew.submit`."""
        self.send(Flight(task, alone))

    def wait(self, timeout: float | None = None) -> list[Done]:
        """See `Crew.wait`."""
        import ray

        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._ended and self.flying:
            flying = list(self.flying)
            # what is ready already, and else the first of them
            ready, _ = ray.wait(flying, num_returns=len(flying), timeout=0)
            if not ready:
                left = max(0.0, min(1.0, end - time.monotonic()))
                ready, _ = ray.wait(flying, timeout=left)
            for ref in ready:
                self._land(ref, self.flying.pop(ref))
            if time.monotonic() >= end:
                break
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """See `Crew.close`. Whole scripts save their work first; a second Ctrl-C ends them too."""
        import ray

        flying, self.flying = list(self.flying), {}
        try:
            for ref in flying:
                ray.cancel(ref, force=not self._whole_scripts)
            if self._whole_scripts and flying:
                ray.wait(flying, num_returns=len(flying), timeout=GRACE_S + 5)
        finally:
            with suppress(Exception):
                for ref in flying if self._whole_scripts else ():
                    ray.cancel(ref, force=True)
            self._bundles.clear()
            self._cleanup.close()

    def send(self, flight: Flight) -> None:
        """Hand a task to Ray, for the first time or again."""
        needs = self._nodes.needs(flight.alone)
        reads = list(self._reads(flight.task)) if self._carrying else None
        writes = list(self._cargo.writes(flight.task)) if self._cargo else []
        ref = self._work.options(
            num_cpus=needs["CPU"],
            num_gpus=needs["GPU"],
            memory=needs.get("memory"),
            max_retries=0,  # which Ray would do silently
            scheduling_strategy="SPREAD",
            label_selector=self._nodes.selector,
        ).remote(self._errand, flight.task, reads, writes)
        self.flying[ref] = flight

    def _reads(self, task: Any) -> Iterator[tuple[Path, Any, list[Any]]]:
        """(path, version, [Ray's name of the content]) of what a task reads."""
        import ray

        for path in self._cargo.reads(task) if self._cargo else ():
            version = version_of(path)
            if version not in self._bundles:
                self._bundles[version] = ray.put(pack(path))
                if len(self._bundles) > KEPT_BUNDLES:
                    self._bundles.popitem(last=False)
            self._bundles.move_to_end(version)
            yield path, version, [self._bundles[version]]

    def _land(self, ref: Any, flight: Flight) -> None:
        """See what became of a task."""
        import ray

        try:
            node, answer = ray.get(ref)
        except (ray.exceptions.RayTaskError, ray.exceptions.TaskUnschedulableError) as error:
            self._ended.append(Done(flight.task, error=WorkerError(f"Ray: {error}")))
            return
        except ray.exceptions.RayError as error:  # its node or process is gone
            self._again(flight, WorkerDied(f"Its node or process is gone ({_cause(error)})."))
            return
        if answer.wants_files:
            self._carrying = True
            self.send(flight)
        elif answer.unfit:
            self._nodes.shun(node, answer.unfit)
            if self._nodes.room():
                self.send(flight)
            else:
                why = " ".join(self._nodes.shunned.values())
                self._ended.append(
                    Done(flight.task, error=WorkerError(f"No node is left to do it. {why}"))
                )
        elif isinstance(answer.done.error, WorkerDied):
            self._again(flight, answer.done.error, answer)
        else:
            self._keep(flight, answer)

    def _again(self, flight: Flight, error: WorkerDied, answer: Answer | None = None) -> None:
        """Have a task done again, if that was not tried too often."""
        flight.tries += 1
        if flight.tries <= self._cfg.retries:
            told = one_line(getattr(flight.task, "name", flight.task), 80)
            log.warning(
                "%s: %s Doing it again (%d of %d).",
                *(told, one_line(error, 300), flight.tries, self._cfg.retries),
            )
            self.send(flight)
            return
        more = f" It was tried {flight.tries} times." if flight.tries > 1 else ""
        last = WorkerDied(f"{error}{more}")
        self._keep(flight, answer or Answer(Done(None), ""), last)

    def _keep(self, flight: Flight, answer: Answer, error: WorkerError | None = None) -> None:
        for bundle in answer.files:
            unpack(bundle)
        failure = error or answer.done.error
        self._ended.append(Done(flight.task, answer.done.value, failure))


def _cause(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {str(error).splitlines()[0]}", 200)
