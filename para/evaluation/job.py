"""The evaluation of one policy: what is known already, what is missing, the result."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envs.base import TASKS, Condition, build_task
from envs.splits import TESTS
from para.errors import ResultError
from para.evaluation.config import EvalConfig
from para.evaluation.journal import Episodes, Journal
from para.evaluation.result_set import ALIGNED, sweep_dir
from para.evaluation.results import SCHEMA, Result, read_result, write_result
from para.evaluation.rollout import rollout
from para.evaluation.trained import TrainedRun
from para.evaluation.worker import Chunk, condition_record, film_comment, film_stem
from para.runs.code import code_digest
from para.runs.folders import setting_of
from para.system import git_hash, hardware, versions
from para.video import VideoError, probe_video

_logger = logging.getLogger(__name__)

_LOCAL_KEYS = (
    *("data_dir", "runs_dir", "results_dir", "reference_dir", "outputs_dir", "workers"),
    "executor",
    *("fresh", "wandb", "video", "policy"),
)
"""Keys that say where and how, not what: they stay out of result files."""


class PolicyEvaluation:
    """The evaluation of one policy: what is known already, what is missing, the result."""

    def __init__(self, cfg: EvalConfig, run: TrainedRun, conditions: dict[str, list[Condition]]):
        self.cfg, self.run = cfg, run
        self.path = run.id.path(results_root(cfg))
        self.git = git_hash()  # of the code that runs; it may change before the end
        origins = {start.origin for starts in conditions.values() for start in starts}
        self.sources = build_task(cfg.task).sources(sorted(origins))
        self.key = outcome_key(cfg, run, self.sources)
        part = [ALIGNED] * cfg.align_view + ([cfg.sweep.name] if cfg.sweep else [])
        name = "_".join([*part, f"{run.id.stem}.jsonl"])
        unfinished = Path(cfg.outputs_dir) / "unfinished"
        self.stages = [stage.name for stage in TASKS[cfg.task.kind].stages]
        self.journal = Journal(unfinished / name, self.key, self.stages)
        if cfg.fresh:
            self.journal.chunks.clear()
        found = self._result_before()
        self.earlier = self._earlier(found)
        same = found is not None and found.get("evaluation", {}).get("key") == self.key
        self.before = found if same and not cfg.fresh else None
        self.conditions = {test: self._whole(test, starts) for test, starts in conditions.items()}
        known = self._chunks_before() | self.journal.chunks
        self.done: dict[tuple[str, int], Episodes] = {
            (test, number): known[test, number]
            for test in cfg.tests
            for number, first, starts in self._chunks(test)
            if _matches(known.get((test, number)), first, starts)
        }

    def chunks_to_run(self) -> Iterator[Chunk]:
        """Chunks that are missing, and those whose videos are."""
        for test in self.cfg.tests:
            for number, first, starts in self._chunks(test):
                record = tuple(
                    index
                    for index in range(first, min(first + len(starts), self.cfg.video))
                    if self._video(test, index) is None
                )
                if record or (test, number) not in self.done:
                    yield Chunk(self.run, self.key, test, number, first, tuple(starts), record)

    def add(self, chunk: Chunk, episodes: Episodes) -> int:
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
                self._close_journal()
                return self.before
        result = self._result(episodes)
        write_result(self.path, result)
        self._close_journal()
        return read_result(self.path)

    def _whole(self, test: str, starts: list[Condition]) -> list[Condition]:
        """Starts of a test that are asked for; all of a result, or of a chunk, of which they are a
        part: nobody who asks for less makes less of it.
        """
        if not starts:
            return starts
        episodes = self.before["episodes"] if self.before else []
        before = [e["condition"] for e in episodes if e["test"] == test]
        if {_text(condition_record(start)) for start in starts} <= {*map(_text, before)}:
            return [Condition.from_dict(record) for record in before]
        number = (len(starts) - 1) // self.cfg.batch
        last = starts[number * self.cfg.batch :]
        chunk = self.journal.chunks.get((test, number), [])
        if _matches(chunk[: len(last)], number * self.cfg.batch, last):
            more = (Condition.from_dict(e["condition"]) for e in chunk[len(last) :])
            return [*starts, *more]
        return starts

    def _close_journal(self) -> None:
        """Remove it, unless it has chunks that were not asked for now."""
        if self.journal.chunks.keys() <= self.done.keys():
            self.journal.delete()

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
        """The result file that lies where this one will, if there is one."""
        if not self.path.exists():
            return None
        try:
            result = read_result(self.path)
        except ResultError as error:
            _logger.warning("%s It is replaced now.", error)
            return None
        return result

    def _earlier(self, found: Result | None) -> list[dict[str, str]]:
        """The evaluations on final starts that came before this one, under the same name."""
        if found is None or self.cfg.starts != "final":
            return []
        evaluation = found.get("evaluation", {})
        last = {"created": found["created"], "git": found["git"], "key": evaluation.get("key", "")}
        return [*evaluation.get("earlier", []), *([last] if last["key"] != self.key else [])]

    def _chunks_before(self) -> dict[tuple[str, int], Episodes]:
        chunks: dict[tuple[str, int], Episodes] = {}
        for episode in self.before["episodes"] if self.before else []:
            number = episode["index"] // self.cfg.batch
            chunks.setdefault((episode["test"], number), []).append(episode)
        return chunks

    def _video(self, test: str, index: int) -> Path | None:
        """The video of an episode if it was made by this very evaluation."""
        stem = film_stem(self.run, test, index)
        comment = film_comment(self.key, self.conditions[test][index])
        for path in films_dir(self.cfg).glob(f"{stem}_*.mp4"):
            try:
                if probe_video(path).comment == comment:
                    return path
            except VideoError:
                continue
        return None

    def _result(self, episodes: Episodes) -> Result:
        cfg, meta = self.cfg, self.run.meta
        return {
            "schema": SCHEMA,
            "split": cfg.split.name,
            "starts": cfg.starts,
            "model": self.run.label,
            "seed": cfg.seed,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "git": self.git,
            "environment": {
                "task": self.run.id.setting.task,
                "robot": cfg.robot,
                "layout": cfg.layout,
                "appearance": cfg.appearance,
                "stages": self.stages,
                "version": TASKS[cfg.task.kind].version,
                **({"sources": self.sources} if self.sources else {}),
            },
            "robot": cfg.robot,
            "layout": cfg.layout,
            "profile": cfg.profile,
            "backbone": meta["backbone"],
            "augment": self.run.id.augment,
            # "start" tells the steps and minutes of the stages before, where a recipe has some
            "training": meta["training"]
            | {"sha256": meta["sha256"]}  # of the weights
            | {name: meta[name] for name in ("finished", "git", "start") if name in meta},
            "hardware": hardware(),
            "versions": versions(),
            "config": {
                "evaluation": _portable(asdict(cfg))
                | asdict(self.run.inference(cfg.inference)),  # as it was run, not as was asked
                "training": _portable(meta["config"]),
            },
            "evaluation": {
                "key": self.key,
                "seconds": round(sum(e["seconds"] for e in episodes), 1),
                **({"earlier": self.earlier} if self.earlier else {}),
            },
            "episodes": episodes,
        }


def outcome_key(cfg: EvalConfig, run: TrainedRun, sources: Mapping[str, str]) -> str:
    """Hash of what the outcome of an episode depends on, besides its start condition.

    `sources`: files of others that starts are made of, and their hashes (`Task.sources`).

    Of the code that is the policy's, its backbone's and its head's, the environment's, and what
    they import: a change elsewhere repeats nothing.
    """
    parts = [rollout, TASKS[cfg.task.kind], *run.components()]
    depends = {
        "policy": run.meta["sha256"],
        "task": asdict(cfg.task),
        "env": asdict(cfg.env),
        "setting": run.id.setting.name,
        "batch": cfg.batch,
        "inference": asdict(run.inference(cfg.inference)),
        "code": code_digest(parts),
    } | ({"sources": dict(sources)} if sources else {})
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def results_root(cfg: EvalConfig) -> Path:
    """Folder of an evaluation's results: <results_dir>, aligned in it, sweeps/<sweep> in either."""
    folder = Path(cfg.results_dir, ALIGNED) if cfg.align_view else Path(cfg.results_dir)
    return sweep_dir(folder, cfg.sweep.name if cfg.sweep else None)


def films_dir(cfg: EvalConfig) -> Path:
    """Folder of an evaluation's films."""
    return Path(cfg.outputs_dir) / "videos" / setting_of(cfg).name / cfg.profile


def _matches(episodes: Episodes | None, first: int, starts: list[Condition]) -> bool:
    """Whether records are those of a chunk: the same episodes from the same starts."""
    wanted = [(first + i, condition_record(start)) for i, start in enumerate(starts)]
    return [(e["index"], e["condition"]) for e in episodes or []] == wanted


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _untimed(episode: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in episode.items() if name != "seconds"}


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _LOCAL_KEYS}
