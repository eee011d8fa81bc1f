"""Work spread over spawned processes, one at a time each, that survives the death of any of them.

Processes are spawned, never forked (a forked child of a process that has used OpenGL hangs), and
each builds its worker once: what is expensive to start is paid for once per process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from para.errors import ParaError

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "LP_NUM_THREADS": "1"}
"""Environment of the processes: two OpenMP pools that compete for the same cores crawl."""

Worker = Callable[[Any], Any]


class WorkerError(ParaError):
    """A process died or its worker raised; the message holds what it wrote to stderr."""


def run_parallel(
    setup: Callable[[], Worker], tasks: Sequence[Any], processes: int
) -> Iterator[tuple[Any, Any]]:
    """Yield (task, result) as results arrive.

    Args:
        setup: Picklable; called once in each process, returns the function that does a task.
        tasks: Picklable; handed out in this order.
        processes: Most processes to start.

    Raises:
        WorkerError: A process died or raised. Nothing new is started then, but what the other
            processes are working on is finished and yielded first.
    """
    waiting, working = deque(tasks), {}
    failure: WorkerError | None = None
    with tempfile.TemporaryDirectory(prefix="para-") as folder:
        workers = [
            _Process(setup, Path(folder) / f"stderr{i}")
            for i in range(min(processes, len(waiting)))
        ]
        try:
            for worker in workers:
                working[worker.give(waiting.popleft())] = worker
            while working:
                for connection in wait(list(working)):
                    worker = working.pop(connection)
                    try:
                        outcome, value = connection.recv()
                    except (EOFError, ConnectionError):
                        failure = failure or WorkerError(worker.obituary())
                        continue
                    if outcome == "failed":
                        failure = failure or WorkerError(value)
                        continue
                    yield worker.task, value
                    if waiting and failure is None:
                        working[worker.give(waiting.popleft())] = worker
            if failure is not None:
                raise failure
        finally:
            for worker in workers:
                worker.end()


class _Process:
    """One process and the pipe to it."""

    def __init__(self, setup: Callable[[], Worker], stderr: Path):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.stderr = stderr
        self.task: Any = None
        level = logging.getLogger().getEffectiveLevel()
        self.process = context.Process(
            target=_serve, args=(theirs, setup, str(stderr), level), daemon=True
        )
        with _environment(SINGLE_THREADED):
            self.process.start()
        theirs.close()  # else its end would stay open here and its death would not be seen

    def give(self, task: Any) -> Connection:
        """Hand over a task; return the connection on which its result will arrive."""
        self.task = task
        with suppress(ConnectionError):  # it is dead, which reading from the connection will tell
            self.connection.send(task)
        return self.connection

    def obituary(self) -> str:
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

    def end(self) -> None:
        """Stop the process, whatever it is doing. It holds nothing that needs to be saved."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, setup: Callable[[], Worker], stderr: str, level: int) -> None:
    """Body of a process: build the worker, then do tasks until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    logging.basicConfig(level=level)
    try:
        work = setup()
        while True:
            task = connection.recv()
            connection.send(("done", work(task)))
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except ParaError as error:
        connection.send(("failed", str(error)))
    except Exception:
        connection.send(("failed", f"A worker process failed:\n{traceback.format_exc()}"))
    # Straight out: destructors of OpenGL contexts print noise, or crash, at interpreter exit.
    os._exit(0)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes started inside, where the user has not set them."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
