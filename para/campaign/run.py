"""Running a campaign: jobs side by side, the demo sets first and alone, with all cores.

A killed campaign goes on with the same command, since the scripts keep what is complete.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from para.campaign.config import ReproduceConfig
from para.campaign.cost import EXPECTED_S
from para.campaign.job import Job, log_file, run_script
from para.errors import ParaError
from para.executors import (
    Cargo,
    Crew,
    Done,
    Executor,
    LocalExecutor,
    build_executor,
    stateless,
)
from para.files import atomic_write_json

log = logging.getLogger(__name__)


class CampaignError(ParaError):
    """Some jobs of a campaign failed."""


@dataclass
class CampaignRun:
    """Runs jobs side by side and keeps track of them.

    Args:
        jobs: What to do, see `plan`.
        executor: Where they run, and how many at a time; exclusive ones run on this machine.
        log_dir: Each job's output goes to a file here.
    """

    jobs: Sequence[Job]
    executor: Executor
    log_dir: Path
    folders: Sequence[Path] = ()
    """Where jobs read and write; see `Cargo`."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each job that has ended [s], by name."""
    failed: dict[str, Path] = field(default_factory=dict)
    """Log files of jobs that failed, or that needed one that did, by name."""

    def run(self) -> None:
        """Run all jobs; those that need a failed one are skipped.

        Raises:
            CampaignError: Some failed: names them, their logs and the commands.
        """
        self.log_dir.mkdir(parents=True, exist_ok=True)
        waiting, running = list(self.jobs), {}
        bar = Progress(
            TextColumn("campaign"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs"),
            TimeElapsedColumn(),
            TextColumn("about {task.fields[left]} left"),
        )
        task = bar.add_task("campaign", total=len(waiting), left="?")
        with (
            self._crews() as (crew, home),
            Live(Group(bar, Text()), refresh_per_second=2) as live,
        ):
            while waiting or running:
                waiting = self._start(waiting, running, crew, home)
                left = self._time_left(waiting, running)
                completed = len(self.jobs) - len(waiting) - len(running)
                bar.update(task, completed=completed, left=f"{left / 60:.0f} min")
                names = (f"  {_clock(_age(since))}  {job.name}" for job, since in running.items())
                live.update(Group(bar, Text("\n".join(names))))
                ended = crew.wait(timeout=0.5)
                for done in ended if home is crew else [*ended, *home.wait(timeout=0.5)]:
                    self._note(done, _age(running.pop(done.task)))
            bar.update(task, completed=len(self.jobs), left="0 min")
            live.update(bar)
        if self.failed:
            commands = {job.name: job.command for job in self.jobs}
            lines = [
                f"  {name}: see {path}\n    {commands[name]}" for name, path in self.failed.items()
            ]
            raise CampaignError(
                f"{len(self.failed)} of {len(self.jobs)} jobs failed or could not start; the "
                "others' work is kept, and the same command tries again:\n" + "\n".join(lines)
            )

    @contextmanager
    def _crews(self) -> Iterator[tuple[Crew, Crew]]:
        """Who does the jobs, and who those that need all of this machine."""
        log_dir = self.log_dir.absolute()
        setup = stateless(run_script, log_dir)
        cargo = Cargo(
            [log_dir, *(folder.absolute() for folder in self.folders)],
            lambda job: [path.absolute() for path in job.reads],
            lambda job: [*(path.absolute() for path in job.writes), log_file(log_dir, job)],
        )
        with ExitStack() as stack:
            crew = stack.enter_context(self.executor.start(setup, whole_scripts=True, cargo=cargo))
            home = crew
            if self.executor.elsewhere:
                here = LocalExecutor(workers=1).start(setup, whole_scripts=True)
                home = stack.enter_context(here)
            yield crew, home

    def _start(
        self, waiting: list[Job], running: dict[Job, float], crew: Crew, home: Crew
    ) -> list[Job]:
        """Start jobs while there is room; return those that still wait."""
        still = []
        for job in waiting:
            blocked = [name for name in job.needs if name in self.failed]
            ready = all(name in self.seconds for name in job.needs)
            alone = any(other.exclusive for other in running)
            room = len(running) < (1 if job.exclusive else self.executor.processes)
            if blocked:
                self.failed[job.name] = self.failed[blocked[0]]
            elif ready and room and not alone:
                running[job] = time.monotonic()
                (home if job.exclusive else crew).submit(job, alone=job.kind == "train")
            else:
                still.append(job)
        return still

    def _note(self, ended: Done, seconds: float) -> None:
        """Keep what became of a job."""
        name = ended.task.name
        self.seconds[name] = seconds
        if ended.error is None:
            log.info("done: %s (%s)", name, _clock(seconds).strip())
        else:
            self.failed[name] = log_file(self.log_dir, ended.task)
            log.warning("failed: %s (%s)", name, ended.error)

    def _time_left(self, waiting: Sequence[Job], running: Mapping[Job, float]) -> float:
        """Seconds: timed jobs of a kind predict the others of that kind."""
        known: dict[str, list[float]] = {}
        for job in self.jobs:
            if job.name in self.seconds and job.name not in self.failed:
                known.setdefault(job.kind, []).append(self.seconds[job.name])
        expected = EXPECTED_S | {kind: sum(each) / len(each) for kind, each in known.items()}
        slots, left = max(1, self.executor.processes), 0.0
        for job in [*waiting, *running]:
            spent = _age(running[job]) if job in running else 0.0
            share = 1 if job.exclusive else slots
            left += max(0.0, expected[job.kind] - spent) / share
        return left


def _age(since: float) -> float:
    return time.monotonic() - since


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3d}:{int(seconds) % 60:02d}"


def reproduce(cfg: ReproduceConfig, jobs: Sequence[Job]) -> CampaignRun:
    """Run the jobs of `plan(cfg)`. seconds.json has each job's wall time in this call."""
    executor = build_executor(cfg.executor, cfg.workers)
    folders = [Path(getattr(cfg, f"{name}_dir")) for name in ("data", "runs", "results", "outputs")]
    campaign = CampaignRun(jobs, executor, Path(cfg.outputs_dir) / "campaign", folders)
    campaign.run()
    atomic_write_json(campaign.log_dir / "seconds.json", campaign.seconds)
    return campaign
