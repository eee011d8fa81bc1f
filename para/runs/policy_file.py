"""The policy that a run leaves, and that evaluation loads without executing anything.

Its weights lie in policy.safetensors, what is known about them in policy.json (keys:
para/training/summary.py).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from para.errors import CheckpointError, ParaError
from para.files import atomic_write, atomic_write_json, read_json
from para.policies.base import Policy, build_policy
from para.runs.config import train_config_from_dict
from para.runs.contents import POLICY, POLICY_META
from para.tensors import Tensors, checksum_of, read_safetensors, save_tensors

FORMAT = 2
"""Of checkpoints and policy files; readers refuse others. 1 had inference settings in the model."""


def save_policy(folder: Path, tensors: Tensors, meta: dict[str, Any]) -> None:
    """Write policy.safetensors, then policy.json with its checksum."""
    path = folder / POLICY
    with atomic_write(path) as aside:
        save_tensors(tensors, aside)
        checksum = checksum_of(aside)
    atomic_write_json(folder / POLICY_META, {"format": FORMAT, **meta, "sha256": checksum})


def read_policy_meta(folder: Path | str) -> dict[str, Any]:
    """policy.json of a run.

    Raises:
        CheckpointError: It is missing, not JSON, or of another format version.
    """
    path = Path(folder) / POLICY_META
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
    path = folder / POLICY
    tensors = read_safetensors(path)
    if checksum_of(path) != meta.get("sha256"):
        raise CheckpointError(
            f"{path} is not the file that policy.json describes: one of them was altered, or "
            "training was killed between writing the two. Run the training command again."
        )
    try:
        cfg = train_config_from_dict(meta["config"])
    except ParaError as error:
        raise CheckpointError(f"{folder / POLICY_META}: {error}") from error
    backbone = dataclasses.replace(cfg.backbone, weights="random")  # the file has the real ones
    with torch.random.fork_rng(devices=[]):
        policy = build_policy(cfg.model, backbone, cfg.env.image_size)
    policy.load(tensors, str(path))
    return policy.eval(), meta
