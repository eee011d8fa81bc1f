"""What training leaves on disk, and reading it back without executing anything.

A run's folder, runs/<profile>/<train_set>[-<robot>][-<layout>]/<model>-<backbone>/seed<k>/:

    config.json           the resolved configuration
    log.jsonl, log.csv    one row per `training.log_every` steps
    augmented_batch.png   what the policy sees in training, labels drawn in
    policy.safetensors    averaged (EMA) weights and normalisation: what evaluation loads
    policy.json           configuration, backbone init, steps, minutes, demos, code, `finished`
    checkpoint/           everything that resuming needs:
        policy.safetensors, ema.safetensors, optimizer.safetensors
        state.json        step, seconds, checksums of the three files
    checkpoint.previous/  the one before

All tensors are safetensors, all the rest is JSON. A checkpoint is written aside and renamed as a
whole; a crash at any moment leaves `checkpoint` or `checkpoint.previous` complete.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from para.errors import CheckpointError
from para.files import NoSpaceError, atomic_write_json, read_json
from para.runs.policy_file import FORMAT
from para.tensors import Tensors, checksum_of, read_safetensors, save_tensors

_logger = logging.getLogger(__name__)


def save_checkpoint(folder: Path, parts: dict[str, Tensors], state: dict[str, Any]) -> None:
    """Replace <folder>/checkpoint by `parts` (file name -> tensors) and `state`, atomically."""
    current, previous = folder / "checkpoint", folder / "checkpoint.previous"
    for leftover in folder.glob(".checkpoint.*"):
        shutil.rmtree(leftover)
    aside = folder / f".checkpoint.{uuid.uuid4().hex[:8]}"
    aside.mkdir(parents=True)
    try:
        checksums = {}
        for name, tensors in parts.items():
            path = aside / f"{name}.safetensors"
            save_tensors(tensors, path)
            _sync(path)
            checksums[path.name] = checksum_of(path)
        atomic_write_json(aside / "state.json", {"format": FORMAT, **state, "sha256": checksums})
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
    for candidate in (folder / "checkpoint", folder / "checkpoint.previous"):
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
    return any((folder / name).exists() for name in ("checkpoint", "checkpoint.previous"))


def _read_checkpoint(folder: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    state = read_json(folder / "state.json")
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


def optimizer_tensors(optimizer: Optimizer) -> tuple[Tensors, list[dict[str, Any]]]:
    """The state of `optimizer` as tensors named <parameter index>.<name>, and its groups."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: Optimizer, tensors: Tensors, groups: list[dict[str, Any]], source: Path | str
) -> None:
    """Inverse of `optimizer_tensors`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in optimizer.param_groups]:
        raise CheckpointError(
            f"{source} holds the optimiser of another architecture. Start again with fresh=true."
        )
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # Fused optimisers walk raw memory: moments need their parameter's memory format.
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[name] = tensor
    for group in groups:
        group["betas"] = tuple(group["betas"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
