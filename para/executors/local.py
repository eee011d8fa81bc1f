"""Processes on this machine, one task each at a time, that survive the death of any of them.

Processes are spawned, never forked (a forked child of a process that has used OpenGL hangs). They
do not see Ctrl-C, which is their parent's to handle, and do not outlive their parent.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from para.asides import scratch_folder
from para.errors import ParaError
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
from para.executors.cargo import Cargo
from para.executors.gpus import VARIABLE, Seats, memory_taken, taken_by_crew, visible_gpus
from para.fields import number
from para.refusals import refusal
from para.registry import load_plugin, plugins
from para.system import worker_count

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "LP_NUM_THREADS": "1"}
"""Environment of workers: two OpenMP pools (or software renderers) on the same cores crawl."""

GRACE_S = 60.0
"""Time that a whole script has to save its work [s]."""


@dataclass
class LocalConfig(ExecutorConfig):
    """configs/executor/local.yaml"""

    kind: str = "local"
    trainings_per_gpu: int = number(1, least=1)


@EXECUTORS.register("local", LocalConfig)
class LocalExecutor(Executor):
    """Spawned processes; where there are GPUs, each sees one of them (`para.executors.gpus`).

    Args:
        cfg: How many trainings share a GPU; None: as configs/executor/local.yaml.
        workers: Processes at a time; None: one per available core.

    Raises:
        ConfigError: That many would only crash the machine.
    """

    def __init__(self, cfg: LocalConfig | None = None, workers: int | None = None):
        self.processes = worker_count(workers)
        self._trainings_per_gpu = (cfg or LocalConfig()).trainings_per_gpu

    def start(self, setup: Setup, whole_scripts: bool = False, cargo: Cargo | None = None) -> Crew:
        """See `Executor.start`."""
        seats = Seats(visible_gpus(), self._trainings_per_gpu)
        return _LocalCrew(setup, self.processes, whole_scripts, seats)


class _LocalCrew(Crew):
    """Starts processes as tasks come in; one that has answered gets the next task."""

    def __init__(self, setup: Setup, processes: int, whole_scripts: bool, seats: Seats):
        self._setup, self._most, self._whole_scripts = setup, processes, whole_scripts
        self._waiting: deque[tuple[Any, bool]] = deque()
        self._seats = seats
        self._busy: dict[Connection, _Process] = {}
        self._free: list[_Process] = []
        self._cleanup = ExitStack()
        self._folder = self._cleanup.enter_context(scratch_folder())
        self._names = itertools.count()

    def submit(self, task: Any, alone: bool = False) -> None:
        """See `Crew.submit`."""
        self._waiting.append((task, alone))
        self._hand_out()

    def wait(self, timeout: float | None = None) -> list[Done]:
        """See `Crew.wait`."""
        ended = []
        for connection in wait(list(self._busy), timeout) if self._busy else ():
            process = self._busy[connection]
            done = process.answer()
            taken_by_crew(sum(p.gpu_bytes for p in (*self._busy.values(), *self._free)))
            if not process.alone:
                self._seats.measured(process.gpu_bytes)
            if self._whole_scripts or done.error is not None:
                self._seats.leave(process.gpu, process.alone)
            if self._whole_scripts:
                process.end(GRACE_S)  # it has nothing left to do but to leave
            elif done.error is not None:
                process.end()
            else:
                self._free.append(process)
            del self._busy[connection]
            ended.append(done)
        self._hand_out()
        return ended

    def close(self) -> None:
        """See `Crew.close`. Whole scripts save their work first; a second Ctrl-C ends them too."""
        self._waiting.clear()
        processes = [*self._busy.values(), *self._free]
        try:
            if self._whole_scripts:
                for process in processes:
                    process.process.terminate()
                last = time.monotonic() + GRACE_S
                for process in processes:
                    process.process.join(max(0.0, last - time.monotonic()))
        finally:
            for process in processes:
                process.end()
            self._cleanup.close()

    def _hand_out(self) -> None:
        for _ in range(len(self._waiting)):
            task, alone = self._waiting.popleft()
            process = self._free.pop() if self._free else self._new(alone)
            if process is None:
                self._waiting.append((task, alone))  # after all others it is the first again
                continue
            self._busy[process.connection] = process
            process.give(task)

    def _new(self, alone: bool) -> _Process | None:
        """A process more, if there is room."""
        gpu = self._seats.take(alone) if len(self._busy) < self._most else None
        if gpu is None:
            return None
        stderr = self._folder / f"stderr{next(self._names)}"
        with _ctrl_c_held():
            process = _Process(self._setup, stderr, self._whole_scripts, gpu, alone)
            self._busy[process.connection] = process  # now `close` would end it
        return process


class _Process:
    """One process and the pipe to it; `gpu` is the one that it sees ("": all)."""

    def __init__(self, setup: Setup, stderr: Path, whole_script: bool, gpu: str, alone: bool):
        self.gpu, self.alone = gpu, alone
        self.gpu_bytes = 0
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.stderr = stderr
        self.task: Any = None
        level = logging.getLogger().getEffectiveLevel()
        self.process = context.Process(
            target=_serve,
            args=(theirs, str(stderr), level, whole_script, plugins()),
            daemon=not whole_script,  # daemons may not start processes
        )
        only = {VARIABLE: gpu} if gpu else {}
        with _environment({} if whole_script else SINGLE_THREADED), _environment(only, True):
            self.process.start()
        theirs.close()  # else its end would stay open here and its death would not be seen
        with suppress(ConnectionError):  # it is dead, which reading from the connection will tell
            self.connection.send(setup)

    def give(self, task: Any) -> None:
        """Hand over a task; its result will arrive on the connection."""
        self.task = task
        with suppress(ConnectionError):  # it is dead, which reading from the connection will tell
            self.connection.send(task)

    def answer(self) -> Done:
        """What became of the task; the connection must be ready."""
        try:
            outcome, value, self.gpu_bytes = self.connection.recv()
        except (EOFError, ConnectionError):
            return Done(self.task, error=WorkerDied(self._obituary()))
        if outcome == "failed":
            return Done(self.task, error=WorkerError(value))
        return Done(self.task, value)

    def _obituary(self) -> str:
        """How the process ended, with the end of what it wrote to stderr."""
        self.process.join(5)
        code = self.process.exitcode
        cause = f"exit status {code}"
        if code is not None and code < 0:
            cause = signal.Signals(-code).name
            if code == -signal.SIGKILL:
                cause += ", perhaps for lack of memory: try fewer workers"
        written = self.stderr.read_text(errors="replace") if self.stderr.exists() else ""
        tail = "\n".join(written.strip().splitlines()[-20:])
        return f"A worker process died ({cause}).{chr(10) if tail else ''}{tail}"

    def end(self, patience: float = 0.0) -> None:
        """Let the process leave within `patience` seconds, then stop it, whatever it is doing."""
        self.connection.close()
        self.process.join(patience)
        self.process.kill()
        self.process.join()


# --- in the process ------------------------------------------------------------------------------


def _serve(
    connection: Connection,
    stderr: str,
    level: int,
    whole_script: bool,
    plugin_names: Sequence[str],
) -> None:
    """Body of a process: build the worker, then do tasks until the parent hangs up.

    The setup comes through the pipe, too, since what receiving it imports can fail.
    """
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    threading.Thread(target=_end_with_parent, args=(whole_script,), daemon=True).start()
    if not whole_script:  # which has its own format
        logging.basicConfig(level=level)
    try:
        for name in plugin_names:
            load_plugin(name)
        work = connection.recv()()
        while True:
            task = connection.recv()
            value = work(task)
            connection.send(("done", value, memory_taken()))
    except (EOFError, ConnectionError):
        pass
    except ParaError as error:
        connection.send(("failed", str(error), 0))
    except Exception as error:
        told = refusal(error) or f"A worker process failed:\n{traceback.format_exc()}"
        connection.send(("failed", told, 0))
    if not whole_script:
        # Straight out: destructors of OpenGL contexts print noise, or crash, at interpreter exit.
        os._exit(0)


def _end_with_parent(whole_script: bool) -> None:
    """End this process when its parent is gone, however it went and whatever is being done here."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    if whole_script:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
    os._exit(1)


# --- while it starts -----------------------------------------------------------------------------


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Block SIGINT, for good in processes started inside; one that came meanwhile arrives after."""
    resource_tracker.ensure_running()  # its start, else a part of the first process's, unblocks
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: dict[str, str], always: bool = False) -> Iterator[None]:
    """Set environment variables for processes started inside; `always`, or where they are not."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({n: v for n, v in values.items() if always or before[n] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
