"""Whose folder a run's folder is: one process at a time, one configuration."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from envs.base import TASKS
from para.errors import CheckpointError, ConfigError
from para.files import atomic_write_json, damaged, read_json, seal
from para.records import Record
from para.runs.config import TrainConfig, differences
from para.runs.contents import CONFIG, POLICY_META, delete_run, lock_path, sweep_run
from para.runs.folders import run_dir
from para.runs.policy_file import policy_version, read_policy_meta, require_version, require_weights
from para.training.checkpoint import has_checkpoint
from para.training.summary import TrainSummary

_logger = logging.getLogger(__name__)

_WAY_ON = (
    "It says what the run in this folder trains: replace the run with fresh=true, or choose "
    "another runs_dir."
)


@contextmanager
def claimed(
    folder: Path, cfg: TrainConfig, accelerator: Accelerator, wait: bool
) -> Iterator[TrainSummary | None]:
    """Hold `folder` as the run of `cfg`; yields the summary if that run is finished already.

    Args:
        folder: The run's folder.
        cfg: Its configuration; `fresh` deletes what an earlier run left.
        accelerator: The main process claims for all.
        wait: Wait for another process that trains into the folder, instead of refusing.

    Raises:
        ConfigError: Another process trains into it, it holds a run of another configuration, or
            `fresh` would delete what no run wrote.
        CheckpointError: Its demos show another version of the simulated world.
    """
    if not accelerator.is_main_process:
        yield broadcast_object_list([None])[0]
        return
    with _locked(folder, wait):
        sweep_run(folder)
        if cfg.fresh:
            delete_run(folder)
        yield broadcast_object_list([_take(folder, cfg)])[0]


def has_other_config(cfg: TrainConfig) -> bool:
    """Is there a run in the folder of `cfg` that trains something else, or can go on no more?"""
    folder = run_dir(cfg)
    if not (folder / CONFIG).exists():
        return False
    try:
        meta = read_policy_meta(folder)
    except CheckpointError:  # missing or damaged: it is written again, from the checkpoint
        meta = None
    if meta and policy_version(meta) != TASKS[cfg.task.kind].version:
        return True
    return bool(differences(cfg, config_in(folder)))


def config_before(cfg: TrainConfig) -> dict[str, Any]:
    """The configuration of the run that `cfg` goes on with; empty where it begins anew.

    Raises:
        CheckpointError: It is damaged.
    """
    folder = run_dir(cfg)
    return {} if cfg.fresh or not _has_run(folder) else config_in(folder)


def config_in(folder: Path) -> dict[str, Any]:
    """config.json of a run; where it is damaged, the configuration that its policy.json keeps.

    Raises:
        CheckpointError: Both are damaged or missing.
    """
    path = folder / CONFIG
    try:
        config = read_json(path, CheckpointError, _WAY_ON)
        try:
            _Config.check(config)
        except ValueError as error:
            raise damaged(path, error, CheckpointError, _WAY_ON) from error
    except CheckpointError as error:
        if not (folder / POLICY_META).exists():
            raise
        config = read_policy_meta(folder)["config"]
        _logger.warning("%s Now it is written again, as %s has it.", error, POLICY_META)
        atomic_write_json(path, seal(config))
    return config


class _Config(Record):
    """What `differences` reads of a run's config.json before it compares the rest."""

    model: dict[str, Any]


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(lock_path(folder), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not wait:
                raise ConfigError(
                    f"Another process is training {folder} right now. Wait for it, or choose "
                    "another seed, model.name or runs_dir."
                ) from error
            _logger.info("Another process is training %s: waiting for it.", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _has_run(folder: Path) -> bool:
    """Is there a run that can go on, or a finished policy, which counts without its checkpoint?"""
    if has_checkpoint(folder):
        return True
    try:
        return bool(read_policy_meta(folder)["finished"])
    except CheckpointError:
        return False


def _take(folder: Path, cfg: TrainConfig) -> TrainSummary | None:
    """Make `folder` the run of `cfg`, or find it finished."""
    if _has_run(folder):
        _refuse_other_config(folder, cfg)
        try:
            if (meta := read_policy_meta(folder))["finished"]:
                require_weights(folder, meta)
        except CheckpointError as error:
            if os.path.lexists(folder / POLICY_META):
                how = "from the checkpoint" if has_checkpoint(folder) else "by a new training"
                _logger.warning("%s The policy is written again, %s.", error, how)
        else:
            require_version(meta, TASKS[cfg.task.kind].version, folder)
            if meta["finished"]:
                return TrainSummary.of_finished(folder, meta)
    atomic_write_json(folder / CONFIG, seal(asdict(cfg)))
    return None


def _refuse_other_config(folder: Path, cfg: TrainConfig) -> None:
    different = differences(cfg, config_in(folder))
    if different:
        listed = "; ".join(f"{k} was {a}, now {b}" for k, (a, b) in list(different.items())[:6])
        more = f"; and {len(different) - 6} more" if len(different) > 6 else ""
        raise ConfigError(
            f"{folder} holds a run of another configuration: {listed}{more}. Ask for the old "
            "values, or replace the run with fresh=true, or keep both with another model.name, "
            "seed or runs_dir."
        )
