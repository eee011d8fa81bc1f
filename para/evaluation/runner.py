"""`evaluate`: every trained policy of a split, in parallel, resumable, to result files.

Episodes run in chunks of `batch` (index // batch) in lock step. A chunk's numbers depend on nothing
outside it, so an evaluation that was killed and resumed, or run by other numbers of processes, ends
in the same result file apart from times.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from envs.base import EnvConfig
from envs.condition import Condition
from envs.splits import test_conditions
from para.errors import CheckpointError, ConfigError, ResultError
from para.evaluation.config import EvalConfig
from para.evaluation.journal import Episodes, Journal
from para.evaluation.pool import run_parallel
from para.evaluation.results import (
    FILE_NAMES,
    SCHEMA,
    TESTS,
    Result,
    experiment_name,
    model_label,
    model_order,
    read_result,
    result_path,
    write_result,
)
from para.statistics import Rate
from para.system import available_cores, git_hash, hardware, versions
from para.types import Inference

_logger = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]

_CODE = (
    *("envs/**/*.py", "baselines/**/*.py", "para/backbones/*.py", "para/heads/*.py"),
    *("para/camera.py", "para/types.py", "para/policies/*.py"),
    "para/evaluation/rollout.py",
)
"""Files that decide the outcome of an episode: results of other versions of them are not reused."""

_LOCAL_KEYS = (
    *("data_dir", "runs_dir", "results_dir", "outputs_dir", "workers"),
    *("fresh", "wandb", "video"),
)
"""Keys that say where and how, not what: they stay out of result files."""


@dataclass(frozen=True)
class TrainedRun:
    """A training run with a policy to evaluate.

    Attributes:
        folder: Its folder.
        label: Name of the policy in results and figures.
        meta: Its policy.json.
    """

    folder: Path
    label: str
    meta: dict[str, Any]


@dataclass
class Evaluation:
    """What `evaluate` made.

    Attributes:
        results: Evaluated policies first, then others that were evaluated before on this split
            with the same seed, by label.
        paths: Result files of the policies that were asked for, by label.
        videos: Rollout videos.
        new_episodes: Episodes that were run now, not read from earlier evaluations.
    """

    results: dict[str, Result] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    videos: list[Path] = field(default_factory=list)
    new_episodes: int = 0


@dataclass(frozen=True)
class _Chunk:
    """Episodes that run in lock step: a task of a worker."""

    run: TrainedRun
    key: str
    test: str
    number: int
    first: int
    conditions: tuple[Condition, ...]
    record: tuple[int, ...]
    """Indices of episodes to make videos of."""


def evaluate(cfg: EvalConfig, console: Console | None = None) -> Evaluation:
    """Evaluate every trained policy of `cfg.split`, or those that `cfg` names.

    Args:
        cfg: What to evaluate; see its fields.
        console: Where the progress bar goes; None: stderr.

    Raises:
        CheckpointError: Nothing has been trained for this split; the message has the command.
        WorkerError: A process died. What is finished is kept; the same command goes on.
    """
    runs = trained_runs(cfg)
    conditions = {
        test: test_conditions(cfg.split, test, cfg.layout, cfg.episodes) for test in cfg.tests
    }
    jobs = [_Job(cfg, run, conditions) for run in runs]
    tasks = [chunk for job in jobs for chunk in job.chunks_to_run()]
    done = Evaluation()
    experiment = experiment_name(cfg.split.name, cfg.robot, cfg.layout)
    stem = partial(_video_stem, experiment, cfg.seed)
    setup = partial(
        _Evaluator,
        *(cfg.robot, cfg.layout, cfg.env, cfg.inference),
        *(cfg.split.title, _videos_dir(cfg), stem),
    )
    with _progress(jobs, console) as show:
        for job in jobs:
            show(job)
        for chunk, episodes in run_parallel(setup, tasks, cfg.workers or available_cores()):
            job = next(job for job in jobs if job.run is chunk.run)
            done.new_episodes += job.add(chunk, episodes)
            show(job)
    for job in jobs:
        done.paths[job.run.label] = job.path
        done.results[job.run.label] = job.finish()
        done.videos += job.videos()
    _add_earlier_results(done, cfg)
    return done


def trained_runs(cfg: EvalConfig) -> list[TrainedRun]:
    """Trained policies for `cfg.split` with `cfg.seed`, PARA first.

    Raises:
        CheckpointError: There are none; names the training command.
        ConfigError: One was trained on images of another size than `cfg.env` renders.
    """
    from para.runs.folders import find_runs
    from para.runs.policy_file import read_policy_meta

    folders = find_runs(
        cfg.runs_dir, cfg.profile, cfg.split.train_set, cfg.robot, cfg.layout,
        model=cfg.model, backbone=cfg.backbone, seed=cfg.seed,
    )  # fmt: skip
    if not folders:
        what = f"model={cfg.model}" if cfg.model else "any model"
        raise CheckpointError(
            f"No trained policy of {what} for split={cfg.split.name} in {cfg.runs_dir} (training "
            f"set {experiment_name(cfg.split.train_set, cfg.robot, cfg.layout)}, profile "
            f"{cfg.profile}, seed {cfg.seed}). Train one first:\n  {training_command(cfg)}"
        )
    default = _default_backbone(cfg.profile)
    runs = []
    for folder in folders:
        meta = read_policy_meta(folder)
        trained = meta["config"]
        size = trained["env"]["image_size"]
        if size != cfg.env.image_size:
            raise ConfigError(
                f"{folder} was trained on {size} px images: evaluate it with env.image_size={size} "
                f"instead of {cfg.env.image_size}."
            )
        if not meta["finished"]:
            _logger.warning("%s: training has not finished; evaluating what there is.", folder)
        label = model_label(trained["model"]["name"], trained["backbone"]["name"], default)
        runs.append(TrainedRun(folder, label, meta))
    return sorted(runs, key=lambda run: model_order(run.label))


def training_command(cfg: EvalConfig) -> str:
    """The command that trains what `cfg` would evaluate."""
    words = [f"model={cfg.model or 'para'}", f"split={cfg.split.name}"]
    words += [f"backbone={cfg.backbone}"] if cfg.backbone else []
    for name, default in (("robot", "panda"), ("layout", "together"), ("seed", 0)):
        value = getattr(cfg, name)
        words += [f"{name}={value}"] if value != default else []
    words += [f"profile={cfg.profile}"] if cfg.profile != "laptop" else []
    return " ".join(["python scripts/train.py", *words])


class _Job:
    """The evaluation of one policy: what is known already, what is missing, the result."""

    def __init__(self, cfg: EvalConfig, run: TrainedRun, conditions: dict[str, list[Condition]]):
        self.cfg, self.run, self.conditions = cfg, run, conditions
        self.experiment = experiment_name(cfg.split.name, cfg.robot, cfg.layout)
        self.path = result_path(
            cfg.results_dir, cfg.split.name, cfg.robot, cfg.layout, run.label, cfg.seed
        )
        self.key = _key(cfg, run)
        self.journal = Journal(
            Path(cfg.outputs_dir)
            / "unfinished"
            / f"{self.experiment}-{run.label}-seed{cfg.seed}.jsonl",
            self.key,
        )
        if cfg.fresh:
            self.journal.chunks.clear()
        self.before = None if cfg.fresh else self._result_before()
        known = self._chunks_before() | self.journal.chunks
        self.done: dict[tuple[str, int], Episodes] = {
            (test, number): known[test, number]
            for test in cfg.tests
            for number, first, starts in self._chunks(test)
            if _matches(known.get((test, number)), first, starts)
        }

    def chunks_to_run(self) -> Iterator[_Chunk]:
        """Chunks that are missing, and those whose videos are."""
        for test in self.cfg.tests:
            for number, first, starts in self._chunks(test):
                record = tuple(
                    index
                    for index in range(first, min(first + len(starts), self.cfg.video))
                    if self._video(test, index) is None
                )
                if record or (test, number) not in self.done:
                    yield _Chunk(self.run, self.key, test, number, first, tuple(starts), record)

    def add(self, chunk: _Chunk, episodes: Episodes) -> int:
        """Keep a chunk that has been run; returns the number of episodes that are new."""
        known = self.done.get((chunk.test, chunk.number))
        if known is None:
            self.done[chunk.test, chunk.number] = episodes
            self.journal.add(chunk.test, chunk.number, episodes)
            return len(episodes)
        if [_untimed(e) for e in known] != [_untimed(e) for e in episodes]:
            _logger.warning(
                "%s: %s episodes %d-%d went otherwise when they were run again for the video; the "
                "result keeps the first run. Is inference on this device deterministic?",
                self.run.label, chunk.test, chunk.first, chunk.first + len(episodes) - 1,
            )  # fmt: skip
        return 0

    def finish(self) -> Result:
        """Write the result file, unless it is there already, and return the result."""
        tests = [test for test in TESTS if test in self.cfg.tests]
        episodes = [
            e for test in tests for n, _, _ in self._chunks(test) for e in self.done[test, n]
        ]
        if self.before is not None:
            # A test that was not asked for now keeps the episodes it has.
            kept = [e for e in self.before["episodes"] if e["test"] not in tests]
            episodes = sorted([*episodes, *kept], key=lambda e: TESTS.index(e["test"]))
            if self.before["episodes"] == episodes:
                self.journal.delete()
                return self.before
        result = self._result(episodes)
        write_result(self.path, result)
        self.journal.delete()
        return read_result(self.path)

    def outcomes(self) -> dict[str, list[bool]]:
        """Successes so far, by test."""
        return {
            test: [e["success"] for (t, _), chunk in self.done.items() if t == test for e in chunk]
            for test in self.cfg.tests
        }

    def videos(self) -> list[Path]:
        """The videos of this evaluation."""
        found = [
            self._video(test, index)
            for test in self.cfg.tests
            for index in range(min(self.cfg.video, len(self.conditions[test])))
        ]
        return [path for path in found if path is not None]

    def _chunks(self, test: str) -> Iterator[tuple[int, int, list[Condition]]]:
        """(number, index of the first episode, conditions) of each chunk."""
        starts, batch = self.conditions[test], self.cfg.batch
        for number, first in enumerate(range(0, len(starts), batch)):
            yield number, first, starts[first : first + batch]

    def _result_before(self) -> Result | None:
        """The result file of an earlier run of this very evaluation, if there is one."""
        if not self.path.exists():
            return None
        try:
            result = read_result(self.path)
        except ResultError as error:
            _logger.warning("%s It is replaced now.", error)
            return None
        return result if result.get("evaluation", {}).get("key") == self.key else None

    def _chunks_before(self) -> dict[tuple[str, int], Episodes]:
        chunks: dict[tuple[str, int], Episodes] = {}
        for episode in self.before["episodes"] if self.before else []:
            number = episode["index"] // self.cfg.batch
            chunks.setdefault((episode["test"], number), []).append(episode)
        return chunks

    def _video(self, test: str, index: int) -> Path | None:
        """The video of an episode if it was made by this very evaluation."""
        from para.video import VideoError, probe_video

        stem = _video_stem(self.experiment, self.cfg.seed, self.run.label, test, index)
        for path in _videos_dir(self.cfg).glob(f"{stem}_*.mp4"):
            try:
                if probe_video(path).comment == self.key:
                    return path
            except VideoError:
                continue
        return None

    def _result(self, episodes: Episodes) -> Result:
        cfg, meta = self.cfg, self.run.meta
        return {
            "schema": SCHEMA,
            "split": cfg.split.name,
            "model": self.run.label,
            "seed": cfg.seed,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "git": git_hash(),
            "robot": cfg.robot,
            "layout": cfg.layout,
            "profile": cfg.profile,
            "backbone": meta["backbone"],
            # "start" tells the steps and minutes of the stages before, where a recipe has some
            "training": meta["training"]
            | {name: meta[name] for name in ("finished", "git", "start") if name in meta},
            "hardware": hardware(),
            "versions": versions(),
            "config": {
                "evaluation": _portable(asdict(cfg)),
                "training": _portable(meta["config"]),
            },
            "evaluation": {
                "key": self.key,
                "seconds": round(sum(e["seconds"] for e in episodes), 1),
            },
            "episodes": episodes,
        }


class _Evaluator:
    """A worker: builds its environments once, loads a policy when it meets a new one."""

    def __init__(
        self,
        robot: str,
        layout: str,
        env: EnvConfig,
        inference: Inference,
        title: str,
        videos: Path,
        stem: Callable[[str, str, int], str],
    ):
        import torch

        from envs.pick_place import PickPlaceEnv

        torch.set_num_threads(1)  # the processes share the cores
        cv2.setNumThreads(1)
        self._make_env = partial(PickPlaceEnv, robot=robot, layout=layout, config=env)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._inference = inference
        self._title, self._videos, self._stem = title, videos, stem
        self._envs: list[Any] = []
        self._folder: Path | None = None

    def __call__(self, chunk: _Chunk) -> Episodes:
        """Run a chunk, record what is to be recorded, return the episodes' records."""
        from para.evaluation.rollout import rollout

        if self._folder != chunk.run.folder:
            from para.runs.policy_file import load_policy

            policy, _ = load_policy(chunk.run.folder)
            self._policy, self._folder = policy.to(self._device), chunk.run.folder
        while len(self._envs) < len(chunk.conditions):
            self._envs.append(self._make_env())
        recorders = {index - chunk.first: self._recorder(chunk, index) for index in chunk.record}
        try:
            outcomes = rollout(
                self._policy, self._envs, chunk.conditions, self._inference, recorders
            )
            for i, recorder in recorders.items():
                recorder.finish(self._envs[i])
        except BaseException:
            for recorder in recorders.values():
                recorder.discard()
            raise
        return [
            {
                "index": chunk.first + i,
                "seed": condition.seed,
                "test": chunk.test,
                "condition": _condition_record(condition),
                **outcome,
            }
            for i, (condition, outcome) in enumerate(zip(chunk.conditions, outcomes, strict=True))
        ]

    def _recorder(self, chunk: _Chunk, index: int) -> Any:
        from para.evaluation.recorder import VideoRecorder

        kind = "held-out start" if chunk.test == "ood" else "training distribution"
        subtitle = f"{self._title}\n{kind} {index}"
        stem = self._stem(chunk.run.label, chunk.test, index)
        return VideoRecorder(self._videos, stem, chunk.run.label, subtitle, chunk.key)


def _key(cfg: EvalConfig, run: TrainedRun) -> str:
    """Hash of what the outcome of an episode depends on, besides its start condition."""
    code = hashlib.sha256()
    for path in sorted({path for pattern in _CODE for path in _ROOT.glob(pattern)}):
        code.update(path.read_bytes())
    parts = {
        "policy": run.meta["sha256"],
        "env": asdict(cfg.env),
        "robot": cfg.robot,
        "batch": cfg.batch,
        "inference": asdict(cfg.inference),
        "code": code.hexdigest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _matches(episodes: Episodes | None, first: int, starts: list[Condition]) -> bool:
    """Whether records are those of a chunk: the same episodes from the same starts."""
    wanted = [(first + i, _condition_record(start)) for i, start in enumerate(starts)]
    return [(e["index"], e["condition"]) for e in episodes or []] == wanted


def _condition_record(condition: Condition) -> dict[str, Any]:
    """A start condition as results hold it."""
    record = {"position": list(condition.position), **condition.to_dict()}
    return json.loads(json.dumps(record))  # tuples become lists, as when read from a file


def _untimed(episode: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in episode.items() if name != "seconds"}


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _LOCAL_KEYS}


def _videos_dir(cfg: EvalConfig) -> Path:
    return Path(cfg.outputs_dir) / "videos"


def _video_stem(experiment: str, seed: int, label: str, test: str, index: int) -> str:
    """<model>_<split>_<test>_ep<index>, as in para_lr_test_ep000 (_success.mp4 or _fail.mp4)."""
    label = label if seed == 0 else f"{label}-seed{seed}"
    return f"{label}_{experiment}_{FILE_NAMES[test]}_ep{index:03d}"


def _default_backbone(profile: str) -> str:
    from para.cli import load_config
    from para.runs.config import TrainConfig

    return load_config(TrainConfig, [f"profile={profile}"]).backbone.name


@contextmanager
def _progress(jobs: list[_Job], console: Console | None) -> Iterator[Any]:
    """A progress bar per policy, with its success rates so far; yields a function to update it."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeElapsedColumn(),
        console=console or Console(stderr=True),
    )
    total = sum(len(starts) for starts in jobs[0].conditions.values())
    tasks = {id(job): bars.add_task(job.run.label, total=total, rates="") for job in jobs}

    def show(job: _Job) -> None:
        rates = {test: Rate.of(successes) for test, successes in job.outcomes().items()}
        text = "  ".join(f"{t} {100 * r.value:.0f} %" for t, r in rates.items() if r.n)
        bars.update(tasks[id(job)], completed=sum(r.n for r in rates.values()), rates=text)

    with bars:
        yield show


def _add_earlier_results(done: Evaluation, cfg: EvalConfig) -> None:
    """Add what was evaluated before on this split, so that policies can be compared."""
    folder = next(iter(done.paths.values())).parents[1]
    for path in sorted(folder.glob(f"*/seed{cfg.seed}.json")):
        if path in done.paths.values():
            continue
        try:
            result = read_result(path)
        except ResultError as error:
            _logger.warning("%s It is left out here.", error)
            continue
        if result.get("profile") == cfg.profile:
            done.results[result["model"]] = result
