"""The whole campaign: every demo set, every training run once, every evaluation, the website.

Each job is one call of a script: what the campaign does can be done by hand, one line at a time,
and a killed campaign goes on with the same command, since the scripts keep what is complete.
Jobs run side by side, one core each; the demo sets are made first, with all cores.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from envs.splits import load_split
from para.cli import ROOT, load_config
from para.common import CommonConfig
from para.errors import ParaError
from para.fields import choice, number, require
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.runs.labels import model_overrides
from para.system import available_cores
from para.training.stages import stage_configs

log = logging.getLogger(__name__)

EXPECTED_S = {"demos": 80.0, "train": 290.0, "eval": 75.0, "website": 500.0}
"""First guess of a job's wall time [s], until one of its kind has been timed."""


@dataclass
class ReproduceConfig(CommonConfig):
    """scripts/reproduce.py"""

    script: ClassVar[str] = "reproduce"

    splits: list[str] = MISSING
    """What to test on; campaign=... sets it (configs/campaign)."""
    models: list[str] = MISSING
    """Policies by their names in results: para, act, para_two_stage-svd_tiny."""
    seeds: list[int] = number([0], least=0)
    precision: str = choice("fp32", ("fp32", "bf16"))
    """Of inference in evaluations: fp32 | bf16."""
    episodes: int | None = number(None, least=1)
    """Episodes per test; null: as many as each split says."""
    website: bool = True
    """Build the website at the end."""

    def rules(self, key: str, run: Any) -> None:
        """An empty campaign is a mistake."""
        super().rules(key, run)
        for name in ("splits", "models", "seeds"):
            require(bool(getattr(self, name)), f"{name}=[] leaves nothing to do.")


class CampaignError(ParaError):
    """Some jobs of a campaign failed."""


@dataclass(frozen=True)
class Job:
    """One call of a script.

    Attributes:
        name: Unique, e.g. "train left para seed0"; also names its log file.
        kind: demos | train | eval | website.
        arguments: Script and overrides.
        needs: Names of jobs that must have succeeded before.
        exclusive: Runs alone, with all cores.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    exclusive: bool = False

    @property
    def command(self) -> str:
        """The call as a user would type it."""
        return " ".join(("python", *self.arguments))


def plan(cfg: ReproduceConfig) -> list[Job]:
    """The jobs of a campaign, in an order in which they can run.

    Splits with the same training set share its training run.
    """
    common = [
        f"{key}={getattr(cfg, key)}"
        for key in ("profile", "robot", "layout", "data_dir", "runs_dir", "outputs_dir")
    ]
    splits = [load_split(name) for name in cfg.splits]
    results = f"results_dir={cfg.results_dir}"
    demos = {
        dataset: Job(
            f"demos {dataset}",
            "demos",
            ("scripts/generate_demos.py", f"dataset={dataset}", *common),
            exclusive=True,
        )
        for dataset in dict.fromkeys(split.dataset for split in splits)
    }
    jobs = {job.name: job for job in demos.values()}
    shared = _SharedStages()
    for seed in cfg.seeds:
        for split in splits:
            for label in cfg.models:
                training, evaluation = model_overrides(label)
                rest = [f"split={split.name}", f"seed={seed}", *common]
                train = f"train {split.train_set} {label} seed{seed}"
                if train not in jobs:
                    needs = (demos[split.dataset].name, *shared.needs(train, [*training, *rest]))
                    arguments = ("scripts/train.py", *training, *rest, "workers=1")
                    jobs[train] = Job(train, "train", arguments, needs)
                test = (results, f"precision={cfg.precision}", "workers=1", "video=0")
                test += (f"episodes={cfg.episodes}",) if cfg.episodes else ()
                arguments = ("scripts/eval.py", *evaluation, *rest, *test)
                name = f"eval {split.name} {label} seed{seed}"
                jobs[name] = Job(name, "eval", arguments, needs=(train,))
    if cfg.website:
        arguments = ("scripts/make_website.py", results, *common)
        evaluations = tuple(job.name for job in jobs.values() if job.kind == "eval")
        jobs["website"] = Job("website", "website", arguments, evaluations, exclusive=True)
    return list(jobs.values())


class _SharedStages:
    """Which job trains a stage that several recipes begin with: the others wait for that job."""

    def __init__(self) -> None:
        self._jobs: dict[Path, str] = {}

    def needs(self, job: str, overrides: Sequence[str]) -> tuple[str, ...]:
        """Jobs that train the first stages of `job`, whose training takes these overrides.

        Raises:
            UnknownNameError, ConfigError: There is no such model, backbone or recipe.
        """
        *earlier, _ = stage_configs(load_config(TrainConfig, overrides))
        makers = [self._jobs.setdefault(run_dir(stage), job) for stage in earlier]
        return tuple(dict.fromkeys(maker for maker in makers if maker != job))


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    start: float


@dataclass
class Campaign:
    """Runs jobs side by side and keeps track of them.

    Args:
        jobs: What to do, see `plan`.
        slots: Jobs at a time.
        log_dir: Each job's output goes to a file here.
    """

    jobs: Sequence[Job]
    slots: int
    log_dir: Path
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, Path] = field(default_factory=dict)

    def run(self) -> None:
        """Run all jobs; those that need a failed one are skipped.

        Raises:
            CampaignError: Some failed: names them, their logs and the commands.
        """
        waiting = list(self.jobs)
        running: list[_Running] = []
        bar = Progress(
            TextColumn("campaign"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs"),
            TimeElapsedColumn(),
            TextColumn("about {task.fields[left]} left"),
        )
        task = bar.add_task("campaign", total=len(waiting), left="?")
        try:
            with Live(Group(bar, Text()), refresh_per_second=2) as live:
                while waiting or running:
                    running = self._collect(running)
                    waiting = self._start(waiting, running)
                    left = self._time_left(waiting, running)
                    done = len(self.jobs) - len(waiting) - len(running)
                    bar.update(task, completed=done, left=f"{left / 60:.0f} min")
                    names = "".join(f"\n  {_age(r)}  {r.job.name}" for r in running)
                    live.update(Group(bar, Text(names.lstrip("\n"))))
                    time.sleep(0.3)
        finally:
            _stop(running)
        if self.failed:
            commands = {job.name: job.command for job in self.jobs}
            lines = [
                f"  {name}: see {path}\n    {commands[name]}" for name, path in self.failed.items()
            ]
            raise CampaignError(
                f"{len(self.failed)} of {len(self.jobs)} jobs failed or could not start; the "
                "others' work is kept, and the same command tries again:\n" + "\n".join(lines)
            )

    def _collect(self, running: list[_Running]) -> list[_Running]:
        """Note what has ended; return what has not."""
        for item in running:
            status = item.process.poll()
            if status is not None:
                self.seconds[item.job.name] = time.monotonic() - item.start
                if status:
                    self.failed[item.job.name] = self._log_file(item.job)
                    log.warning("failed: %s (exit status %d)", item.job.name, status)
                else:
                    log.info("done: %s (%s)", item.job.name, _age(item).strip())
        return [item for item in running if item.process.poll() is None]

    def _start(self, waiting: list[Job], running: list[_Running]) -> list[Job]:
        """Start jobs while there is room; return those that still wait."""
        still = []
        for job in waiting:
            blocked = [name for name in job.needs if name in self.failed]
            ready = all(name in self.seconds for name in job.needs)
            alone = any(item.job.exclusive for item in running)
            if blocked:
                self.failed[job.name] = self.failed[blocked[0]]
            elif ready and not alone and len(running) < (1 if job.exclusive else self.slots):
                running.append(self._launch(job))
            else:
                still.append(job)
        return still

    def _launch(self, job: Job) -> _Running:
        path = self._log_file(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        # its own session: Ctrl-C reaches the campaign alone, which then stops its jobs. By SIGTERM,
        # since a process that was started in the background of a script ignores SIGINT
        with path.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *job.arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return _Running(job, process, time.monotonic())

    def _log_file(self, job: Job) -> Path:
        return self.log_dir / f"{job.name.replace(' ', '-')}.log"

    def _time_left(self, waiting: Sequence[Job], running: Sequence[_Running]) -> float:
        """Seconds: timed jobs of a kind predict the others of that kind."""
        left = 0.0
        ages = {item.job.name: time.monotonic() - item.start for item in running}
        for job in [*waiting, *(item.job for item in running)]:
            known = [self.seconds[j.name] for j in self.jobs if self._timed(j, job.kind)]
            expected = sum(known) / len(known) if known else EXPECTED_S[job.kind]
            share = 1 if job.exclusive else self.slots
            left += max(0.0, expected - ages.get(job.name, 0.0)) / share
        return left

    def _timed(self, job: Job, kind: str) -> bool:
        return job.kind == kind and job.name in self.seconds and job.name not in self.failed


def _age(item: _Running) -> str:
    seconds = int(time.monotonic() - item.start)
    return f"{seconds // 60:3d}:{seconds % 60:02d}"


def _end_with_parent() -> None:
    """In a new job: be told to stop when the campaign dies, even if it was killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 = PR_SET_PDEATHSIG


def _stop(running: Sequence[_Running]) -> None:
    """Let running jobs save their work, and wait for them."""
    for item in running:
        if item.process.poll() is None:
            os.killpg(item.process.pid, signal.SIGTERM)
    for item in running:
        try:
            item.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(item.process.pid, signal.SIGKILL)


def reproduce(cfg: ReproduceConfig) -> Campaign:
    """Run the campaign of `cfg`; see `plan`. seconds.json has each job's wall time in this call."""
    campaign = Campaign(
        plan(cfg), cfg.workers or available_cores(), Path(cfg.outputs_dir) / "campaign"
    )
    campaign.run()
    atomic_write_json(campaign.log_dir / "seconds.json", campaign.seconds)
    return campaign
