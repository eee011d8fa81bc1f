"""Checkpoints on disk: written whole or not at all, and read without executing anything.

A checkpoint (<folder>/checkpoint, see para/runs/contents.py) holds whole tensors, however many
processes wrote it:

    policy.safetensors     state dict of the policy as it is trained
    ema.safetensors        state dict of its average: module.<name> as in the policy, n_averaged ()
    optimizer.safetensors  <parameter number>.<exp_avg | exp_avg_sq> in the parameter's shape,
                           <parameter number>.step (); numbers count through the groups
    state.json
        format             version of the format (`para.runs.policy_file.FORMAT`)
        step               optimiser steps that are done
        seconds            training time, over all sessions
        window             {steps, seconds, sums} since the last logged row
        threads            of torch; another number rounds differently
        loss_means         running mean of each loss of a stage that has two; else empty
        optimizer_groups   hyperparameters of each group, and the numbers of its parameters
        scaler             state of fp16's gradient scaler; null without
        sha256             {file: checksum}
        checksum           of all this (`para.files.seal`)
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from para.asides import aside_of
from para.errors import CheckpointError
from para.files import NoSpaceError, atomic_write_json, damaged, read_json, seal
from para.records import Amount, Count, Record
from para.runs.contents import CHECKPOINT, CHECKPOINT_STATE, PREVIOUS_CHECKPOINT
from para.runs.policy_file import FORMAT, Sha256, is_sealed, require_format
from para.tensors import Tensors, checksum_of, read_finite, save_tensors

_logger = logging.getLogger(__name__)


class _Group(Record):
    """Of AdamW; its other keys are compared with those of this version's when it is restored."""

    params: list[Count]
    lr: Amount
    peak_lr: Amount
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    eps: Amount
    weight_decay: Amount


class _Window(Record):
    model_config = ConfigDict(extra="forbid")

    steps: Count
    seconds: Amount
    sums: dict[str, float]


class _Files(Record):
    model_config = ConfigDict(extra="forbid")

    policy: Sha256 = Field(alias="policy.safetensors")
    ema: Sha256 = Field(alias="ema.safetensors")
    optimizer: Sha256 = Field(alias="optimizer.safetensors")


class _State(Record):
    """state.json"""

    step: Count
    seconds: Amount
    window: _Window
    threads: int = Field(ge=1)
    loss_means: dict[str, float]
    optimizer_groups: list[_Group]
    scaler: dict[str, float] | None
    sha256: _Files


def save_checkpoint(folder: Path, parts: dict[str, Tensors], state: dict[str, Any]) -> None:
    """Replace <folder>/checkpoint by `parts` (file name -> tensors) and `state`, atomically."""
    current, previous = folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT
    for leftover in folder.glob(f".{CHECKPOINT}.*"):
        shutil.rmtree(leftover)
    aside = aside_of(current)
    aside.mkdir(parents=True)
    try:
        checksums = {}
        for name, tensors in parts.items():
            path = aside / f"{name}.safetensors"
            save_tensors(tensors, path)
            _sync(path)
            checksums[path.name] = checksum_of(path)
        atomic_write_json(
            aside / CHECKPOINT_STATE,
            seal({"format": FORMAT, **state, "sha256": checksums}),
        )
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        if error.errno == errno.ENOSPC:
            raise NoSpaceError(
                f"No space left while writing {current}. The last complete checkpoint is kept: "
                "free some space and run the same command again."
            ) from error
        raise
    if current.exists():
        if previous.exists():
            shutil.rmtree(previous)
        os.rename(current, previous)
    os.rename(aside, current)
    _sync(folder)


def load_checkpoint(folder: Path, steps: int) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """The newest complete checkpoint of a run as (parts, state), or None if there is none at all.

    A damaged one is skipped with a warning.

    Args:
        folder: The run's folder.
        steps: Optimiser steps of the whole run; a checkpoint of more is damaged.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged.
    """
    damage: list[CheckpointError] = []
    for candidate in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
        if not os.path.lexists(candidate):
            continue
        try:
            result = _read_checkpoint(candidate, steps)
        except CheckpointError as error:
            damage.append(error)
            continue
        for error in damage:
            _logger.warning("%s Resuming from %s instead.", error, candidate.name)
        return result
    if damage:
        raise CheckpointError(
            f"{damage[0]} No older checkpoint is left: start again with fresh=true."
        )
    return None


def has_checkpoint(folder: Path) -> bool:
    """Did a run get as far as its first checkpoint?"""
    return any(os.path.lexists(folder / name) for name in (CHECKPOINT, PREVIOUS_CHECKPOINT))


def _read_checkpoint(folder: Path, steps: int) -> tuple[dict[str, Tensors], dict[str, Any]]:
    path = folder / CHECKPOINT_STATE
    state = read_json(path, sealed=is_sealed)
    require_format(state, path)
    try:
        if _State.check(state).step > steps:
            raise ValueError(f"step is {state['step']}, but the run has {steps}")
    except ValueError as error:
        raise damaged(path, error, CheckpointError) from error
    parts = {}
    for name, checksum in state["sha256"].items():
        tensors = read_finite(folder / name)
        if checksum_of(folder / name) != checksum:
            raise CheckpointError(f"{folder / name} was altered: its checksum differs.")
        parts[name.removesuffix(".safetensors")] = tensors
    return parts, state


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
