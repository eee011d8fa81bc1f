"""How long a campaign will take, from what the same jobs took before.

Trainings and evaluations run on one core each, `workers` of them side by side; demos and the
website have all cores. Result files say how long a policy took to train and to test.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from para.campaign.config import ReproduceConfig
from para.campaign.job import Job
from para.campaign.plan import Plan
from para.errors import ParaError
from para.evaluation.result_set import ResultSet, StoredResult
from para.evaluation.results import total_minutes, total_steps
from para.runs.policy_file import read_policy_meta

EXPECTED_S = {"demos": 80.0, "train": 160.0, "eval": 60.0, "website": 500.0}
"""First guess of a job's wall time [s], where nothing like it has been timed; the first campaign's
were 43 to 121 s, 259 to 572 s for 800 steps, 17 to 119 s and 522 s (two cores of an AMD EPYC)."""
_ALL_CORES = 2
"""Cores that demos and website had there."""


class Costs:
    """Core-seconds of jobs.

    Args:
        results: Where they were measured.
    """

    def __init__(self, results: Iterable[StoredResult]):
        self._step_s: dict[object, list[float]] = defaultdict(list)
        self._episode_s: dict[object, list[float]] = defaultdict(list)
        for result in results:
            policy, data = result.model.partition("@")[0], result.data
            video = result.id.backbone if "-" in policy else ""
            step = 60 * total_minutes(data) / max(total_steps(data), 1)
            seconds = (data.get("evaluation") or {}).get("seconds", 0.0)
            for key in (policy, (video,)):
                self._step_s[key].append(step)
                if seconds:
                    self._episode_s[key].append(seconds / len(data["episodes"]))
            if seconds:
                self._episode_s[policy, result.split].append(seconds / len(data["episodes"]))

    def of(self, job: Job) -> float:
        """What a job takes [s of one core], if nothing of it is done."""
        if job.kind in ("train", "eval") and job.work:
            policy = job.work.of.partition("@")[0]
            keys: list[object] = [(policy, job.work.split)] if job.work.split else []
            keys += [policy, (policy.partition("-")[2],)]
            measured = self._step_s if job.kind == "train" else self._episode_s
            for key in keys:
                if key in measured:
                    return job.work.amount * median(measured[key])
        return EXPECTED_S[job.kind] * (_ALL_CORES if job.exclusive else 1)


def is_done(job: Job) -> bool:
    """Was a job done before? Its script decides again, and more strictly, when it runs."""
    if job.work is None or not os.path.lexists(job.work.output):
        return False
    if job.kind != "train":
        return True
    try:
        return bool(read_policy_meta(job.work.output.parent)["finished"])
    except ParaError:
        return False


@dataclass(frozen=True)
class Row:
    """A line of the estimate.

    Attributes:
        name: Of the campaign.
        counts: By kind of job: how many there are, and how many are done.
        hours: Core-hours of all of them.
        left: Core-hours of those that are not done.
    """

    name: str
    counts: dict[str, tuple[int, int]]
    hours: float
    left: float


def estimate(cfg: ReproduceConfig, plan: Plan) -> list[Row]:
    """One row per campaign, and one of everything: what several need counts once there."""
    measured = [
        result
        for folder in dict.fromkeys((cfg.reference, cfg.results_dir))
        for result in ResultSet.load(folder).results
        if result.id.profile == cfg.profile
    ]
    costs = Costs(measured)
    jobs = {job.name: (job, costs.of(job) / 3600, is_done(job)) for job in plan.jobs}
    named = {name: [jobs[job] for job in needed] for name, needed in plan.by_campaign.items()}
    everything = [*jobs.values()]
    return [*(_row(*item) for item in named.items()), _row("in all", everything)]


def _row(name: str, jobs: Sequence[tuple[Job, float, bool]]) -> Row:
    kinds = dict.fromkeys(job.kind for job, _, _ in jobs)
    done = {kind: [is_there for job, _, is_there in jobs if job.kind == kind] for kind in kinds}
    counts = {kind: (len(there), sum(there)) for kind, there in done.items()}
    left = sum(hours for _, hours, is_there in jobs if not is_there)
    return Row(name, counts, sum(hours for _, hours, _ in jobs), left)


def estimate_table(rows: Sequence[Row]) -> Table:
    """The estimate as a table for the terminal, 80 columns wide."""
    table = Table(title="What is to be made", title_justify="left", box=None, pad_edge=False)
    table.add_column("campaign", overflow="fold")
    for title in ("trainings", "evaluations", "core-hours", "left"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows if len(rows) != 2 else rows[-1:]:
        counts = [row.counts.get(kind, (0, 0)) for kind in ("train", "eval")]
        words = [f"{n} ({done} done)" if done else str(n) for n, done in counts]
        table.add_row(row.name, *words, f"{row.hours:.1f}", f"{row.left:.1f}")
    return table
