"""Jobs of Slurm, through submitit; or of this machine, to try what Slurm would be given.

Every job of Slurm sees whether it runs the driver's code and sees its files, does a block of tasks
and leaves the results in a file. Near its time limit, or when it is pre-empted, it is told to stop:
a script saves its work, and the job goes back into the queue with what is not done yet. That is
safe since training resumes exactly (docs/protocol.md).
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
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
from para.executors.cargo import Cargo, marked
from para.executors.gpus import visible_gpus
from para.executors.local import GRACE_S
from para.executors.remote import Answer, Errand, Station
from para.extras import require_packages
from para.fields import choice, folder, number, require
from para.registry import plugins
from para.system import available_cores, worker_count

log = logging.getLogger(__name__)

AT_A_TIME = 64
"""Jobs of Slurm at a time where `workers` does not say."""
POLL_S = {"slurm": 2.0, "local": 0.2, "debug": 0.0}
"""How often the ends of jobs are looked for [s]; submitit asks Slurm itself less often."""
LEAVE_S = 30
"""Time for leaving after a script has saved its work [s]."""


@dataclass
class SlurmConfig(ExecutorConfig):
    """configs/executor/slurm.yaml"""

    kind: str = "slurm"
    cluster: str = choice("slurm", ("slurm", "local", "debug"))
    """slurm; or local, processes of this machine, and debug, one after the other."""
    folder: str = folder("outputs/slurm")
    """What submitit writes: jobs, results and logs. All nodes must see it."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    minutes: int = number(240, least=1, most=100_000)
    """Time limit of a job [min]; one that reaches it is requeued."""
    cores: int = number(1, least=1, most=1024)
    """Of a job."""
    gpus: int = number(0, least=0, most=64)
    """Of a job."""
    memory_gb: float = number(8.0, above=0)
    """Of a job."""
    block: int = number(16, least=1, most=10_000)
    """Chunks of an evaluation, or demos, that one job does at most, one after the other; a training
    is a job of its own."""
    requeues: int = number(10, least=0, most=1000)
    """How often a job may reach its time limit."""
    more: dict[str, str] = field(default_factory=dict)
    """Further options of sbatch: +executor.more.constraint=a100."""

    @property
    def told(self) -> list[str]:
        """See `ExecutorConfig`. Processes of this machine have nothing to add to it."""
        if self.cluster != "slurm":
            return []
        keys = ["partition", "account", "qos", "minutes", "cores", "gpus", "memory_gb"]
        keys += ["block", "requeues"]
        values = {key: getattr(self, key) for key in keys}
        words = [f"executor.{key}={value}" for key, value in values.items() if value is not None]
        words += [f"+executor.more.{key}={value}" for key, value in self.more.items()]
        return ["executor=slurm", *words]


@EXECUTORS.register("slurm", SlurmConfig)
class SlurmExecutor(Executor):
    """Slurm, as this machine can reach it.

    Args:
        cfg: What a job asks for.
        workers: Jobs at a time; None: AT_A_TIME.

    Raises:
        ConfigError: submitit is not installed, there is no Slurm, or this machine, in whose place
            it would be, has less than a job asks for.
    """

    elsewhere: ClassVar[bool] = True

    def __init__(self, cfg: SlurmConfig, workers: int | None = None):
        self.cfg = cfg
        require_packages("cluster", "submitit")
        if cfg.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise ConfigError(
                "executor=slurm: there is no Slurm here (no sbatch and srun on PATH). Call this on "
                "a login node of the cluster, or try executor.cluster=local, or use executor=local."
            )
        here = worker_count(workers) if cfg.cluster == "local" else workers or AT_A_TIME
        self.processes = 1 if cfg.cluster == "debug" else here
        if cfg.cluster != "slurm":
            for key, most in (("cores", available_cores()), ("gpus", len(visible_gpus()))):
                require(
                    getattr(cfg, key) <= most,
                    f"executor.{key}={getattr(cfg, key)}, but this machine has {most}: a job would "
                    "wait for ever. Ask for less.",
                )

    @property
    def ahead(self) -> int:
        """See `Executor`."""
        return self.processes * self.cfg.block

    def start(self, setup: Setup, whole_scripts: bool = False, cargo: Cargo | None = None) -> Crew:
        """See `Executor.start`."""
        cleanup = ExitStack()
        place = Path(self.cfg.folder).absolute()
        marks = cleanup.enter_context(marked([place, *(cargo.folders if cargo else ())]))
        name = f"{os.getpid()}-{time.time_ns()}"
        errand = Errand(
            *(name, setup, whole_scripts, Path.cwd(), this_build(plugins()), plugins(), marks),
            must_see=True,
        )
        return _SlurmCrew(self.cfg, self.processes, errand, cleanup)


class Block:
    """Tasks that one job does; what submitit carries.

    Args:
        errand: What they have in common.
        tasks: Plain data.
    """

    def __init__(self, errand: Errand, tasks: Sequence[Any]):
        self.errand, self.tasks = errand, list(tasks)
        self.answers: list[Answer] = []
        self._station: Station | None = None

    def __call__(self) -> list[Answer]:
        """Do what is not done yet."""
        self._station = Station(self.errand)
        try:
            while len(self.answers) < len(self.tasks):
                answer = self._station.do(self.tasks[len(self.answers)])
                self.answers.append(answer)
        finally:
            self._station.close()
        return self.answers

    def checkpoint(self) -> Any:
        """Called by submitit where the job has to leave: what the next one is to do."""
        from submitit.helpers import DelayedSubmission

        if self._station is not None:
            self._station.close()
        rest = Block(self.errand, self.tasks)
        rest.answers = self.answers
        return DelayedSubmission(rest)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but processes."""
        return self.__dict__ | {"_station": None}


class _SlurmCrew(Crew):
    """Jobs in the queue, and running."""

    def __init__(self, cfg: SlurmConfig, processes: int, errand: Errand, cleanup: ExitStack):
        import submitit

        self._cfg, self._processes, self._errand = cfg, processes, errand
        self._cleanup = cleanup
        self._waiting: list[Any] = []
        self._jobs: list[tuple[Any, list[Any]]] = []
        limits = {f"{cfg.cluster}_max_num_timeout": cfg.requeues}
        limits = {} if cfg.cluster == "debug" else limits
        try:
            self._submitit = submitit.AutoExecutor(cfg.folder, cluster=cfg.cluster, **limits)
            self._submitit.update_parameters(**self._parameters())
        except (RuntimeError, ValueError, NameError) as error:
            raise ConfigError(f"executor=slurm: {one_line(error, 300)}") from error

    def _parameters(self) -> dict[str, Any]:
        cfg = self._cfg
        if cfg.cluster == "debug":
            return {}
        asked = {
            "name": "para",
            "timeout_min": cfg.minutes,
            "cpus_per_task": cfg.cores,
            "gpus_per_node": cfg.gpus,
            "mem_gb": cfg.memory_gb,
        }
        if cfg.cluster == "local":
            return asked
        named = {"partition": cfg.partition, "account": cfg.account, "qos": cfg.qos}
        return (
            asked
            | {f"slurm_{key}": value for key, value in named.items() if value is not None}
            | {
                "slurm_array_parallelism": self._processes,
                "slurm_signal_delay_s": int(GRACE_S) + LEAVE_S,
                "slurm_additional_parameters": dict(cfg.more),
            }
        )

    def submit(self, task: Any, alone: bool = False) -> None:
        """See `Crew.submit`; jobs are made of what was submitted when somebody waits."""
        self._waiting.append(task)

    def wait(self, timeout: float | None = None) -> list[Done]:
        """See `Crew.wait`."""
        self._hand_out()
        end = math.inf if timeout is None else time.monotonic() + timeout
        poll = POLL_S[self._cfg.cluster]
        while self._jobs:
            ended = next((one for one in self._jobs if one[0].done()), None)
            if ended is not None:
                self._jobs.remove(ended)
                return self._results(*ended)
            if time.monotonic() >= end:
                break
            time.sleep(max(0.0, min(poll, end - time.monotonic())))
        return []

    def close(self) -> None:
        """See `Crew.close`."""
        self._waiting.clear()
        jobs, self._jobs = self._jobs, []
        try:
            for job, _ in jobs:
                job.cancel(check=False)
            if self._cfg.cluster == "local":
                end = time.monotonic() + GRACE_S
                while not all(job.done() for job, _ in jobs) and time.monotonic() < end:
                    time.sleep(POLL_S["local"])
        finally:
            self._cleanup.close()

    def _hand_out(self) -> None:
        """Make jobs of all tasks that wait: an array where there are several."""
        tasks, self._waiting = self._waiting, []
        if not tasks:
            return
        size = 1
        if not self._errand.whole_scripts:
            size = min(self._cfg.block, math.ceil(len(tasks) / self._processes))
        blocks = [tasks[i : i + size] for i in range(0, len(tasks), size)]
        try:
            jobs = self._queued(blocks)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise ConfigError(
                f"executor=slurm: no job could be handed in ({one_line(error, 400)}). Is there "
                "such a partition, and has a node of it executor.cores=, executor.gpus= and "
                "executor.memory_gb=?"
            ) from error
        self._jobs += zip(jobs, blocks, strict=True)
        log.info("Jobs %s: %d tasks.", ", ".join(job.job_id for job in jobs[:4]), len(tasks))

    def _queued(self, blocks: list[list[Any]]) -> list[Any]:
        if len(blocks) == 1:
            return [self._submitit.submit(Block(self._errand, blocks[0]))]
        with self._submitit.batch():
            return [self._submitit.submit(Block(self._errand, block)) for block in blocks]

    def _results(self, job: Any, tasks: list[Any]) -> list[Done]:
        """What became of the tasks of a job that has ended."""
        try:
            answers: list[Answer] = job.result()
        except Exception as error:  # submitit's, with the traceback of the job in it
            told = f"Job {job.job_id} of Slurm has left no result; see {job.paths.stderr}."
            lost = WorkerDied(f"{told}\n{str(error)[-2000:]}")
            return [Done(task, error=lost) for task in tasks]
        errors = (WorkerError(one.unfit) if one.unfit else one.done.error for one in answers)
        each = zip(tasks, answers, errors, strict=True)
        return [Done(task, answer.done.value, error) for task, answer, error in each]
