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

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from para.config import TrainConfig, train_config_from_dict
from para.errors import CheckpointError, ParaError
from para.files import NoSpaceError, atomic_write, atomic_write_json
from para.models import build_policy
from para.policy import Policy

FORMAT = 1
"""Of checkpoints and policy files; readers refuse others."""

Tensors = dict[str, Tensor]
_logger = logging.getLogger(__name__)


def run_dir(cfg: TrainConfig) -> Path:
    """Folder of the run that `cfg` asks for. Splits with the same training set share it."""
    backbone = f"{cfg.model.name}-{cfg.backbone.name}"
    group = _group(cfg.split.train_set, cfg.robot, cfg.layout)
    return Path(cfg.runs_dir) / cfg.profile / group / backbone / f"seed{cfg.seed}"


def _group(train_set: str, robot: str, layout: str) -> str:
    suffix = "" if robot == "panda" else f"-{robot}"
    return train_set + suffix + ("" if layout == "together" else f"-{layout}")


def find_runs(
    runs_dir: Path | str,
    profile: str,
    train_set: str,
    robot: str = "panda",
    layout: str = "together",
    model: str | None = None,
    backbone: str | None = None,
    seed: int | None = None,
) -> list[Path]:
    """Folders of runs that have a policy to evaluate, sorted; None matches every name or seed.

    Video models without a policy (model=video) are left out.
    """
    folder = Path(runs_dir) / profile / _group(train_set, robot, layout)
    found = []
    for path in sorted(folder.glob("*/seed*/policy.json")):
        config = read_policy_meta(path.parent)["config"]
        if (
            model in (None, config["model"]["name"])
            and backbone in (None, config["backbone"]["name"])
            and seed in (None, config["seed"])
            and config["model"].get("kind") != "video"
        ):
            found.append(path.parent)
    return found


# --- the policy that evaluation loads ------------------------------------------------------------


def save_policy(folder: Path, tensors: Tensors, meta: dict[str, Any]) -> None:
    """Write policy.safetensors, then policy.json with its checksum."""
    path = folder / "policy.safetensors"
    with atomic_write(path) as aside:
        _save_tensors(tensors, aside)
        checksum = _checksum(aside)
    atomic_write_json(folder / "policy.json", {"format": FORMAT, **meta, "sha256": checksum})


def read_policy_meta(folder: Path | str) -> dict[str, Any]:
    """policy.json of a run.

    Raises:
        CheckpointError: It is missing, not JSON, or of another format version.
    """
    path = Path(folder) / "policy.json"
    meta = read_json(path)
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {meta.get('format')!r}; this version of PARA reads {FORMAT}. "
            "Train again with fresh=true."
        )
    return meta


def load_policy(folder: Path | str) -> tuple[Policy, dict[str, Any]]:
    """The trained policy of a run, in eval mode on the CPU, and its policy.json.

    Raises:
        CheckpointError: A file is missing, damaged, a pickle, or of another architecture.
    """
    folder = Path(folder)
    meta = read_policy_meta(folder)
    path = folder / "policy.safetensors"
    tensors = read_safetensors(path)
    if _checksum(path) != meta.get("sha256"):
        raise CheckpointError(
            f"{path} is not the file that policy.json describes: one of them was altered, or "
            "training was killed between writing the two. Run the training command again."
        )
    try:
        cfg = train_config_from_dict(meta["config"])
    except ParaError as error:
        raise CheckpointError(f"{folder / 'policy.json'}: {error}") from error
    backbone = dataclasses.replace(cfg.backbone, weights="random")  # the file has the real ones
    with torch.random.fork_rng(devices=[]):
        policy = build_policy(cfg.model, backbone, cfg.env.image_size)
    policy.load(tensors, str(path))
    return policy.eval(), meta


# --- checkpoints: resuming -----------------------------------------------------------------------


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
            _save_tensors(tensors, path)
            _sync(path)
            checksums[path.name] = _checksum(path)
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
        if _checksum(folder / name) != checksum:
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


# --- files ---------------------------------------------------------------------------------------


def read_safetensors(path: Path | str) -> Tensors:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: It is missing, cut short, or another kind of file (a pickle, say).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        # safetensors begins with the length of its header, which may look like a pickle's magic
        # bytes (one in 32 ends in 0x80); then comes the header's brace
        if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
            raise CheckpointError(
                f"{path} is a pickle (torch.save) file, not safetensors. Loading a pickle can run "
                "any code, so PARA never does. Convert it where you trust it: "
                "safetensors.torch.save_file(state_dict, path)."
            )
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({path.stat().st_size} bytes): {error}."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises CheckpointError where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist.") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object.")
    return value


def _save_tensors(tensors: Tensors, path: Path) -> None:
    """Write contiguous copies on the CPU that share no memory, as safetensors wants them."""
    plain = {k: t.detach().to("cpu", copy=True).contiguous() for k, t in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:  # it wraps what the operating system says
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
    path.chmod(0o644)  # safetensors makes files that only their owner can read


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
