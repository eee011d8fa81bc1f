"""Executors: where the processes of a campaign, an evaluation or a data set run."""

from para.executors.base import (
    EXECUTORS,
    Crew,
    Done,
    Executor,
    ExecutorConfig,
    WorkerDied,
    WorkerError,
    build_executor,
    stateless,
)
from para.executors.local import LocalExecutor

__all__ = [
    "EXECUTORS",
    "Crew",
    "Done",
    "Executor",
    "ExecutorConfig",
    "LocalExecutor",
    "WorkerDied",
    "WorkerError",
    "build_executor",
    "stateless",
]
