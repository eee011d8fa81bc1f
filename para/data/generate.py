"""Making demonstrations: what a data set consists of, and parallel, resumable generation.

A data set is one fixed thing: episode `index` depends on its name, the layout, the appearance and
the environment configuration only, whoever makes it, in whatever order. That is why a killed run
ends in the same bytes as an undisturbed one, and why training never needs to know how it was made.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from envs.base import (
    TASKS,
    EnvConfig,
    Environment,
    Task,
    TaskConfig,
    build_task,
    setting_name,
)
from envs.demos import DEMO_SETS, IMPORTED_LAYOUTS
from para import __version__
from para.common import CommonConfig
from para.data.format import (
    IMPORTED,
    Episode,
    EpisodeMeta,
    check_dataset,
    check_episode,
    dataset_dir,
    encode_image,
    episode_path,
    write_episode,
)
from para.data.frame import seen_in
from para.data.plan import RETRY_SHIFT, PlannedDemo, plan, planned, require_as_planned
from para.errors import ConfigError, DataError
from para.executors import (
    Cargo,
    ExecutorConfig,
    WorkerDied,
    build_executor,
    here,
)
from para.fields import choice, number
from para.files import require_free_space, require_writable
from para.places import typed

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Tries per episode; after the first, all objects are moved by up to RETRY_SHIFT."""
BYTES_PER_PIXEL = 60
"""Upper estimate of an episode's file size per pixel of image area (all its frames together)."""


@dataclass
class GenerateConfig(CommonConfig):
    """scripts/generate_demos.py"""

    script: ClassVar[str] = "generate_demos"
    packages: ClassVar[tuple[str, ...]] = ("para.executors",)

    dataset: str = choice("objpos", DEMO_SETS)
    """Name of the data set (envs/demos.py); the YAML file takes the task's usual one."""
    limit: int | None = number(None, least=1, most=100_000)
    """Generate at most this many episodes, spread evenly over the set."""
    executor: Any = None
    """Where episodes are made, `workers` at a time (configs/executor)."""
    preview: bool = True
    """Also write a contact sheet and train_demo_*.mp4."""


# ---------------------------------------------------------------------------------- whole data sets


@dataclass(frozen=True)
class GenerateSummary:
    """What `generate` did.

    Attributes:
        folder: The data set.
        metas: All its episodes, by index.
        made: Number of episodes made now; the others were there.
        replaced: Damaged files that were moved aside (to NAME.bad) and made again.
        seconds: Time spent making episodes [s].
        previews: Pictures and videos written.
    """

    folder: Path
    metas: list[EpisodeMeta]
    made: int
    replaced: list[Path]
    seconds: float
    previews: list[Path]

    def report(self) -> str:
        """A few lines for people."""
        size = sum(episode_path(self.folder, meta.index).stat().st_size for meta in self.metas)
        frames = sum(meta.num_samples for meta in self.metas)
        failed = [meta.index for meta in self.metas if not meta.success]
        retried = [meta.index for meta in self.metas if meta.seed != meta.index]
        lines = [f"{self.folder}: {len(self.metas)} demos, {frames} frames, {size / 1e6:.1f} MB."]
        if self.made:
            rate = 60 * self.made / self.seconds
            lines.append(f"Made {self.made} in {self.seconds:.0f} s ({rate:.0f} per minute).")
        if self.replaced:
            lines.append(f"Made again, damaged file kept as NAME.bad: {_names(self.replaced)}.")
        if retried:
            lines.append(f"Moved by up to {1000 * RETRY_SHIFT:.0f} mm after a failure: {retried}.")
        if failed:
            lines.append(f"The expert failed in {failed}: marked so, and left out of training.")
        return "\n".join([*lines, *(f"  {path}" for path in self.previews)])


def generate(cfg: GenerateConfig) -> GenerateSummary:
    """Complete a data set: make what is missing, make again what is damaged, keep the rest.

    Raises:
        ConfigError: A seed was given: data sets are not random.
        DataError: The folder holds demos that were made with another environment configuration, or
            a worker process died.
        NoSpaceError: The disk is too small.
    """
    if cfg.seed:
        raise ConfigError(
            f"seed={cfg.seed}: a data set is one fixed thing. Seeds belong to train.py and eval.py."
        )
    folder, tasks = _folder_and_tasks(cfg, cfg.dataset, cfg.limit)
    for place in (folder, cfg.outputs_dir) if cfg.preview else (folder,):
        require_writable(place)  # before the long work
    replaced = _move_damaged_aside(folder, tasks)
    made = len(tasks) - len(_present(folder, tasks))
    start = time.perf_counter()
    _, metas = ensure_dataset(cfg, cfg.dataset, cfg.limit, cfg.executor)
    seconds = time.perf_counter() - start
    previews: list[Path] = []
    if cfg.preview:
        from para.data.preview import write_previews

        pictures = Path(cfg.outputs_dir) / folder.parent.name / folder.name
        previews = write_previews(folder, metas, pictures)
    return GenerateSummary(folder, metas, made, replaced, seconds, previews)


def ensure_dataset(
    cfg: CommonConfig,
    dataset: str,
    limit: int | None = None,
    executor: ExecutorConfig | None = None,
    only: Collection[int] | None = None,
) -> tuple[Path, list[EpisodeMeta]]:
    """What training calls: verify a data set, after making the episodes that are missing.

    Args:
        cfg: What it is made in.
        dataset: Its name.
        limit: At most so many episodes.
        executor: Where missing ones are made; None: here.
        only: Indices of those that are asked for; None: all.

    Returns:
        The folder, and the episodes by index.

    Raises:
        DataError: A file is damaged (it is named, with the command that makes it again), or the set
            was made with another environment configuration, another version of it, or starts
            elsewhere than it does today.
    """
    folder, tasks = _folder_and_tasks(cfg, dataset, limit)
    tasks = [task for task in tasks if only is None or task.index in only]
    present = _present(folder, tasks)
    how = IMPORTED_LAYOUTS.get(cfg.layout)
    if how and (len(present) < len(tasks) or not (folder / IMPORTED).exists()):
        raise DataError(
            f"{folder} holds no finished import of the {len(tasks)} demos that are asked for, and "
            f"those of layout={cfg.layout} are not made: {typed('import_demos')} {how} "
            f"task={cfg.task.name}. A split that trains on fewer demos needs fewer."
        )
    if len(present) < len(tasks):
        build_task(cfg.task).require_expert("making demos needs")
        if present:
            check_demos(folder, present, cfg)  # before the long work
        log.info("%s lacks %d demos; making them.", folder, len(tasks) - len(present))
        _make_missing(folder, tasks, cfg, dataset, executor)
    return folder, check_demos(folder, [task.index for task in tasks], cfg)


def check_demos(folder: Path, indices: list[int], cfg: CommonConfig) -> list[EpisodeMeta]:
    """Verify demos of a data set that must be there, and be what would be made today.

    Raises:
        DataError: As `ensure_dataset`, or one is missing.
    """
    made_with = {"task": dataclasses.asdict(cfg.task), "env": dataclasses.asdict(cfg.env)}
    version = TASKS[cfg.task.kind].version
    metas = check_dataset(folder, indices, made_with, version, cfg.appearance)
    if cfg.layout not in IMPORTED_LAYOUTS:
        require_as_planned(folder, metas, build_task(cfg.task), cfg.env, cfg.appearance)
    return metas


def _folder_and_tasks(
    cfg: CommonConfig, dataset: str, limit: int | None
) -> tuple[Path, list[PlannedDemo]]:
    setting = setting_name(cfg.task.name, cfg.robot, cfg.layout, cfg.appearance)
    folder = dataset_dir(cfg.data_dir, setting, dataset, cfg.env.image_size)
    task = build_task(cfg.task)
    return folder, plan(dataset, task, cfg.layout, limit, cfg.env, cfg.appearance)


def _present(folder: Path, tasks: list[PlannedDemo]) -> list[int]:
    return [task.index for task in tasks if os.path.lexists(episode_path(folder, task.index))]


def _move_damaged_aside(folder: Path, tasks: list[PlannedDemo]) -> list[Path]:
    damaged = []
    for path in (episode_path(folder, task.index) for task in tasks):
        try:
            if os.path.lexists(path):
                check_episode(path)
        except DataError as error:
            log.warning("%s", error)
            path.replace(path.with_name(path.name + ".bad"))
            damaged.append(path)
    return damaged


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)


# ------------------------------------------------------------------------------- parallel processes


def _make_missing(
    folder: Path,
    tasks: list[PlannedDemo],
    cfg: CommonConfig,
    dataset: str,
    where: ExecutorConfig | None,
) -> None:
    """Make the episodes whose files do not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _remove_half_written(folder)
        tasks = [task for task in tasks if not os.path.lexists(episode_path(folder, task.index))]
        if not tasks:
            return
        require_free_space(folder, len(tasks) * cfg.env.image_size**2 * BYTES_PER_PIXEL)
        executor = build_executor(where, cfg.workers)
        made_in = cfg.task, cfg.robot, cfg.layout, cfg.env, cfg.appearance
        setup = partial(_Maker, folder.absolute(), dataset, *made_in)
        try:
            cargo = Cargo([folder], writes=lambda index: [episode_path(folder.absolute(), index)])
            made = executor.run(setup, [task.index for task in tasks], cargo)
            _show_progress((success for _, success in made), len(tasks), folder.name)
        except WorkerDied as error:
            raise DataError(
                f"A process that made demos for {folder} died (out of memory?). Complete demos are "
                "kept: run the same command again, with workers=1 if it happens again.\n"
                f"{error}"
            ) from error
        finally:
            _remove_half_written(folder)


def _show_progress(successes: Iterable[bool], total: int, title: str) -> None:
    """Show a bar while the episodes arrive."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start, failures = time.perf_counter(), 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(title, total=total, rate="starting the simulator")
        for done, success in enumerate(successes, start=1):
            failures += not success
            rate = f"{60 * done / (time.perf_counter() - start):.0f} demos/min"
            rate += f", {failures} failed" if failures else ""
            progress.update(bar, completed=done, rate=rate)


def _remove_half_written(folder: Path) -> None:
    """Remove what killed writers left behind; nobody writes now, see `_locked`."""
    for stale in folder.glob(".demo_*.hdf5"):
        stale.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time add to a data set. The lock of a killed process is gone with it."""
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Another process is adding to %s; waiting for it.", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Maker:
    """Makes episodes of one data set in a worker process."""

    folder: Path
    dataset: str
    task: TaskConfig
    robot: str
    layout: str
    env: EnvConfig
    appearance: str

    def __call__(self, index: int) -> bool:
        """Make episode `index`, with up to ATTEMPTS tries; return its success."""
        task = build_task(self.task)
        for attempt in range(ATTEMPTS):
            which = self.dataset, task, self.layout, index, self.env, self.appearance
            demo = planned(*which, attempt)
            episode = record(demo, self.dataset, task, self.robot, self.layout, self.env)
            if episode.meta.success:
                break
        folder = here(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_episode(episode_path(folder, index), episode)
        return episode.meta.success


def record(
    demo: PlannedDemo, dataset: str, task: Task, robot: str, layout: str, config: EnvConfig
) -> Episode:
    """Let the expert do one episode and record it at 10 Hz (uses this process's renderer)."""
    import mujoco

    from envs.table.expert import run_expert

    env = task.environment(robot, layout, config)
    env.begin(demo.condition)
    frames: list[np.ndarray] = []
    rows: list[dict[str, np.ndarray]] = []

    def on_frame(env: Environment) -> None:
        frames.append(encode_image(env.frame()))
        rows.append({"actions": np.array([*env.target, env.gripper_command]), **seen_in(env)})

    success = run_expert(env, on_frame)
    meta = EpisodeMeta(
        index=demo.index,
        seed=demo.seed,
        dataset=dataset,
        task=dataclasses.asdict(task.cfg),
        robot=robot,
        layout=layout,
        condition=demo.condition.to_dict(),
        env=dataclasses.asdict(config),
        success=bool(success),
        num_samples=len(frames),
        environment_version=task.version,
        code_version=__version__,
        mujoco_version=mujoco.__version__,
        instruction=task.instruct(demo.condition),
    )
    return Episode(meta, frames, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
