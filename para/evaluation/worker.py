"""What a process of an evaluation does: run chunks of episodes, and film some of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch

from envs.base import Condition, EnvConfig, TaskConfig, build_task
from envs.splits import SplitConfig
from para.evaluation.journal import Episodes
from para.evaluation.results import FILE_NAMES
from para.evaluation.rollout import Recorder, rollout
from para.evaluation.trained import TrainedRun
from para.executors import here
from para.runs.identity import ResultId
from para.types import Inference


class Film(Recorder, Protocol):
    """A recorder that makes a file of what it saw."""

    def finish(self, env: Any) -> Path:
        """Called after the last step; returns the file."""

    def discard(self) -> None:
        """Called instead of `finish` when the episode broke off."""


MakeFilm = Callable[[Path, str, str, str, str], Film]
"""(folder, stem of the file's name, policy's label, subtitle, comment in the file) -> recorder."""


@dataclass(frozen=True)
class Chunk:
    """Episodes that run in lock step: a task of a worker.

    Attributes:
        run: The policy.
        key: What the outcomes depend on, see `para.evaluation.job`.
        test: ood | sanity.
        number: Of the chunk within its test.
        first: Index of its first episode.
        conditions: Their starts.
        record: Indices of episodes to film.
    """

    run: TrainedRun
    key: str
    test: str
    number: int
    first: int
    conditions: tuple[Condition, ...]
    record: tuple[int, ...]


class Evaluator:
    """A worker: builds its environments once, loads a policy when it meets a new one.

    Args:
        task: What is to be done.
        robot: Name of the robot.
        layout: How objects are placed.
        env: Camera, image size, step budget.
        inference: How policies are run.
        split: What its tests are called, for films.
        films: Their folder.
        make_film: Makes a recorder; None where nothing is filmed.
    """

    def __init__(
        self,
        task: TaskConfig,
        robot: str,
        layout: str,
        env: EnvConfig,
        inference: Inference,
        split: SplitConfig,
        films: Path,
        make_film: MakeFilm | None,
    ):
        torch.set_num_threads(1)  # the processes share the cores
        cv2.setNumThreads(1)
        self._make_env = partial(build_task(task).environment, robot, layout, env)
        self._inference = inference
        self._split, self._films, self._make_film = split, here(films), make_film
        self._envs: list[Any] = []
        self._loaded: ResultId | None = None

    def __call__(self, chunk: Chunk) -> Episodes:
        """Run a chunk, record what is to be recorded, return the episodes' records."""
        self._load(chunk.run)
        while len(self._envs) < len(chunk.conditions):
            self._envs.append(self._make_env())
        films = {index - chunk.first: self._film(chunk, index) for index in chunk.record}
        try:
            inference = chunk.run.inference(self._inference)
            outcomes = rollout(self._policy, self._envs, chunk.conditions, inference, films)
            for i, film in films.items():
                film.finish(self._envs[i])
        except BaseException:
            for film in films.values():
                film.discard()
            raise
        return [
            {
                "index": chunk.first + i,
                "seed": condition.seed,
                "test": chunk.test,
                "condition": condition_record(condition),
                **outcome,
            }
            for i, (condition, outcome) in enumerate(zip(chunk.conditions, outcomes, strict=True))
        ]

    def _load(self, run: TrainedRun) -> None:
        if self._loaded != run.id:
            self._policy, self._loaded = run.load(self._make_env, self._envs), run.id

    def _film(self, chunk: Chunk, index: int) -> Film:
        subtitle = f"{self._split.title}\nstart {index} {self._split.test_titles[chunk.test]}"
        stem = film_stem(chunk.run, chunk.test, index)
        comment = film_comment(chunk.key, chunk.conditions[index - chunk.first])
        return self._make_film(self._films, stem, chunk.run.label, subtitle, comment)


def film_stem(run: TrainedRun, test: str, index: int) -> str:
    """<policy>_<split>_<test>_ep<index>, as in para_lr_test_ep000 (_success.mp4 or _fail.mp4)."""
    label = run.label if run.id.seed == 0 else f"{run.label}-seed{run.id.seed}"
    return f"{label}_{run.id.split}_{FILE_NAMES[test]}_ep{index:03d}"


def film_comment(key: str, condition: Condition) -> str:
    """What a film is known by: what its outcome depends on, and its start."""
    start = json.dumps(condition_record(condition), sort_keys=True)
    return f"{key}-{hashlib.sha256(start.encode()).hexdigest()[:16]}"


def condition_record(condition: Condition) -> dict[str, Any]:
    """A start condition as results hold it, and as it is after a trip through JSON."""
    return json.loads(json.dumps({"position": list(condition.position), **condition.to_dict()}))
