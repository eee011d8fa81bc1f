"""`evaluate`: every trained policy of a split, in parallel, resumable, to result files.

Episodes run in chunks of `batch` (index // batch) in lock step. A chunk's numbers depend on nothing
outside it, so an evaluation that was killed and resumed, or run by other numbers of processes, ends
in the same result file apart from times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from baselines.floors import FLOORS
from envs.base import build_task
from envs.perturbations import SWEEPS
from envs.splits import TESTS, test_conditions
from para.errors import ConfigError
from para.evaluation.chosen import chosen_policy
from para.evaluation.config import EvalConfig
from para.evaluation.job import PolicyEvaluation, films_dir
from para.evaluation.results import Result
from para.evaluation.trained import TrainedRun, trained_runs
from para.evaluation.unlearned import floor_run
from para.evaluation.worker import Chunk, Evaluator, MakeFilm, film_stem
from para.executors import Cargo, build_executor
from para.files import require_writable
from para.statistics import Rate
from para.system import git_hash


@dataclass
class Evaluation:
    """What `evaluate` made.

    Attributes:
        results: By label, in the order of tables.
        paths: Their files, by label.
        videos: Rollout videos.
        new_episodes: Episodes that were run now, not read from earlier evaluations.
    """

    results: dict[str, Result] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    videos: list[Path] = field(default_factory=list)
    new_episodes: int = 0


def evaluate(
    cfg: EvalConfig, make_film: MakeFilm | None = None, console: Console | None = None
) -> Evaluation:
    """Evaluate every trained policy of `cfg.split`, those that `cfg` names, or `cfg.policy`.

    Args:
        cfg: What to evaluate; see its fields.
        make_film: Makes the recorders of `cfg.video` episodes; picklable. None films nothing.
        console: Where the progress bar goes; None: stderr.

    Raises:
        CheckpointError: Nothing has been trained for this split; the message has the command.
        ConfigError: `cfg.policy` was trained in something else, see `chosen_policy`; a policy does
            not know an instruction of the tests; or the reference's final starts would be looked
            at from an uncommitted state.
        WorkerError: A process died. What is finished is kept; the same command goes on.
    """
    cfg = cfg if make_film else replace(cfg, video=0)
    if cfg.starts == "final" and cfg.is_reference:
        _require_commit(cfg)
    jobs = planned(cfg)
    for folder in (cfg.outputs_dir, *(job.path.parent for job in jobs)):
        require_writable(folder)  # before the long work
    tasks = [chunk for job in jobs for chunk in job.chunks_to_run()]
    done = Evaluation()
    setup = partial(
        Evaluator,
        *(cfg.task, cfg.robot, cfg.layout, cfg.env, cfg.inference),
        *(cfg.split, films_dir(cfg).absolute(), make_film),
    )
    with _progress(jobs, console) as show:
        for job in jobs:
            show(job)
        executor = build_executor(cfg.executor, cfg.workers)
        for chunk, episodes in executor.run(setup, tasks, _cargo(cfg)):
            job = next(job for job in jobs if job.run is chunk.run)
            done.new_episodes += job.add(chunk, episodes)
            show(job)
    for job in jobs:
        done.paths[job.run.label] = job.path
        done.results[job.run.label] = job.finish()
        done.videos += job.videos()
    return done


def _require_commit(cfg: EvalConfig) -> None:
    """Numbers that are published say which code they are of."""
    code = git_hash()
    if not code.endswith("-dirty") and code != "unknown":
        return
    why = "git does not say which commit this is"
    if code != "unknown":
        why = "there are changes, or new files, that no commit has"
    raise ConfigError(
        f"starts=final results_dir={cfg.results_dir} publishes numbers, and {why}. Commit first, "
        "or evaluate into another results_dir."
    )


def planned(cfg: EvalConfig) -> list[PolicyEvaluation]:
    """The evaluation of each policy that `cfg` names, none of them begun.

    They know the starts of every test, also of one that is not asked for now: what a result depends
    on is the same in whatever order its tests come.
    """
    runs = _policies(cfg)
    task = build_task(cfg.task)
    count = cfg.sweep.episodes if cfg.sweep and cfg.episodes is None else cfg.episodes
    conditions = {
        test: test_conditions(
            *(cfg.split, test, task, cfg.layout, count, cfg.env, cfg.starts, cfg.appearance)
        )
        for test in TESTS
    }
    if cfg.sweep:
        sweep = SWEEPS[cfg.sweep.kind](cfg.sweep)
        conditions = {test: sweep.starts(starts) for test, starts in conditions.items()}
    said = {task.instruct(start) for test in cfg.tests for start in conditions[test]}
    for run in runs:
        run.require_known(said)
    return [PolicyEvaluation(cfg, run, conditions) for run in runs]


def _cargo(cfg: EvalConfig) -> Cargo:
    """What chunks read, and the films that they leave."""
    films = films_dir(cfg).absolute()

    def made(chunk: Chunk) -> list[Path]:
        stems = (film_stem(chunk.run, chunk.test, index) for index in chunk.record)
        return [films / f"{stem}_*.mp4" for stem in stems]

    folders = [Path(folder) for folder in (cfg.data_dir, cfg.runs_dir, cfg.outputs_dir)]
    return Cargo(folders, lambda chunk: chunk.run.files(), made)


def _policies(cfg: EvalConfig) -> Sequence[TrainedRun]:
    if cfg.policy is not None:
        return [chosen_policy(cfg)]
    return [floor_run(cfg)] if cfg.model in FLOORS else trained_runs(cfg)


@contextmanager
def _progress(jobs: list[PolicyEvaluation], console: Console | None) -> Iterator[Any]:
    """A progress bar per policy, with its success rates so far; yields a function to update it.

    It fits 80 columns, whatever the policy is called.
    """
    bars = Progress(
        TextColumn("{task.description}", table_column=Column(max_width=18, no_wrap=True)),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeElapsedColumn(),
        console=console or Console(stderr=True),
    )
    names = jobs[0].cfg.split.test_titles
    titles = {test: name.replace("distribution", "dist.") for test, name in names.items()}
    total = sum(len(jobs[0].conditions[test]) for test in jobs[0].cfg.tests)
    tasks = {id(job): bars.add_task(job.run.label, total=total, rates="") for job in jobs}

    def show(job: PolicyEvaluation) -> None:
        rates = {test: Rate.of(successes) for test, successes in job.outcomes().items()}
        text = "  ".join(f"{titles[t]} {100 * r.value:.0f} %" for t, r in rates.items() if r.n)
        bars.update(tasks[id(job)], completed=sum(r.n for r in rates.values()), rates=text)

    with bars:
        yield show
