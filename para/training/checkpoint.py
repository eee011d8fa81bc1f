"""Checkpoints on disk: written whole or not at all, and read without executing anything.

What is in a run's folder: para/runs/contents.py. What is in a checkpoint: para/training/resume.py.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from para.asides import aside_of
from para.errors import CheckpointError
from para.files import NoSpaceError, atomic_write_json, read_json
from para.runs.contents import CHECKPOINT, CHECKPOINT_STATE, PREVIOUS_CHECKPOINT
from para.runs.policy_file import FORMAT
from para.tensors import Tensors, checksum_of, read_safetensors, save_tensors

_logger = logging.getLogger(__name__)


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
            aside / CHECKPOINT_STATE, {"format": FORMAT, **state, "sha256": checksums}
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


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """The newest complete checkpoint of a run as (parts, state), or None if there is none at all.

    A damaged one is skipped with a warning.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged.
    """
    damage: list[CheckpointError] = []
    for candidate in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
        if not candidate.exists():
            continue
        try:
            result = _read_checkpoint(candidate)
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
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS_CHECKPOINT))


def _read_checkpoint(folder: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    state = read_json(folder / CHECKPOINT_STATE)
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {state.get('format')!r}; this version of PARA reads {FORMAT}."
        )
    parts = {}
    for name, checksum in state["sha256"].items():
        tensors = read_safetensors(folder / name)
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
