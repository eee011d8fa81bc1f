"""What every executor is: tasks in, results out as they arrive, whatever dies on the way.

    for task, result in executor.run(setup, tasks):
        ...

`setup` is called once in each process and returns the worker, which is called with one task after
another. A task is plain data and its result depends on nothing else, so it can be done anywhere
and again. What depends on earlier results is submitted one by one (`Executor.start`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, ClassVar

from para.errors import ParaError
from para.executors.cargo import Cargo
from para.fields import word
from para.registry import Registry

Worker = Callable[[Any], Any]
"""Task -> result."""
Setup = Callable[[], Worker]
"""Picklable; builds a worker in the process that will use it."""


def stateless(work: Callable[..., Any], *first: Any) -> Setup:
    """The setup of a worker that has nothing to set up: the task is the last argument of `work`."""
    return partial(partial, work, *first)


class WorkerError(ParaError):
    """A task could not be done; the message says why."""


class WorkerDied(WorkerError):
    """The process of a task ended before the task did; the message has what it wrote to stderr."""


@dataclass(frozen=True)
class Done:
    """A task that has ended.

    Attributes:
        task: The object that was submitted.
        value: What the worker returned.
        error: Why there is no value.
    """

    task: Any
    value: Any = None
    error: WorkerError | None = None


class Crew(ABC):
    """The processes of one piece of work; a context manager that leaves none of them behind."""

    @abstractmethod
    def submit(self, task: Any, alone: bool = False) -> None:
        """Have a task (picklable) done as soon as a process is free.

        Args:
            task: What is to be done.
            alone: Where there are GPUs, it gets one that no other task uses, unless the executor is
                told that several may share one.
        """

    @abstractmethod
    def wait(self, timeout: float | None = None) -> list[Done]:
        """Tasks that have ended; waits for the first of them, at most `timeout` seconds."""

    @abstractmethod
    def close(self) -> None:
        """End all processes, whatever they are doing."""

    def __enter__(self) -> Crew:
        """The crew itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


@dataclass
class ExecutorConfig:
    """What every executor is told (configs/executor)."""

    name: str = word("local")
    kind: str = "local"
    """The registered component that reads the rest."""

    @property
    def told(self) -> list[str]:
        """What a script that a campaign calls here is told, so that its tasks go there, too."""
        return []


class Executor(ABC):
    """A place where processes run.

    Attributes:
        processes: Most tasks at a time.
        ahead: Most tasks that `run` hands out before it has their results.
        elsewhere: May processes run on other machines? Then whole scripts that need all of this
            one (`para.campaign.job.Job.exclusive`) are not for it.
    """

    processes: int
    elsewhere: ClassVar[bool] = False

    @property
    def ahead(self) -> int:
        """See the attributes."""
        return self.processes

    @abstractmethod
    def start(self, setup: Setup, whole_scripts: bool = False, cargo: Cargo | None = None) -> Crew:
        """A crew whose processes are started when there are tasks for them.

        Args:
            setup: Builds the worker of a process.
            whole_scripts: Each task is a script that lasts: it gets a fresh process, may start
                processes of its own, and is told by SIGTERM to save its work before it is ended.
            cargo: The files of the tasks, for processes that do not see those of this machine.

        Raises:
            ConfigError: The place cannot be reached, or has not what is asked for.
        """

    def run(
        self, setup: Setup, tasks: Iterable[Any], cargo: Cargo | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result) as results arrive; tasks are handed out in their order.

        Raises:
            ConfigError: See `start`.
            WorkerError: A process died or its worker raised. Nothing new is handed out then, but
                what others are working on is finished and yielded first.
        """
        waiting, working = deque(tasks), 0
        failure: WorkerError | None = None
        if not waiting:
            return
        with self.start(setup, cargo=cargo) as crew:
            while True:
                while waiting and failure is None and working < self.ahead:
                    crew.submit(waiting.popleft())
                    working += 1
                if not working:
                    break
                ended = crew.wait()
                working -= len(ended)
                for done in ended:
                    failure = failure or done.error
                    if done.error is None:
                        yield done.task, done.value
        if failure is not None:
            raise failure


EXECUTORS: Registry[Callable[[ExecutorConfig, int | None], Executor]] = Registry(
    "executor", "executor", packages=("para.executors",)
)
"""Executors by kind: called with (cfg, workers)."""


def build_executor(cfg: ExecutorConfig | None, workers: int | None) -> Executor:
    """The executor of a configuration, for at most `workers` tasks at a time (None: as it likes).

    Without a configuration it is the usual one, local.

    Raises:
        UnknownNameError: There is no such kind of executor.
        ConfigError: It cannot have so many workers.
    """
    cfg = cfg or EXECUTORS.config("local")()
    return EXECUTORS[cfg.kind](cfg, workers)
