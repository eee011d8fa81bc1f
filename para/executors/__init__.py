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
from para.executors.cargo import Cargo, here
from para.executors.local import LocalConfig, LocalExecutor

__all__ = [
    "EXECUTORS",
    "Cargo",
    "Crew",
    "Done",
    "Executor",
    "ExecutorConfig",
    "LocalConfig",
    "LocalExecutor",
    "WorkerDied",
    "WorkerError",
    "build_executor",
    "here",
    "stateless",
]
