"""The policy that a run leaves, and that evaluation loads without executing anything.

Its weights lie in policy.safetensors, what is known about them in policy.json:

    format, sha256    of the file format, and of policy.safetensors
    finished          false while the run goes on
    config            the resolved configuration
    environment       {version}: of the simulated world that the demos show; 1 where it is missing
    backbone          {name, init}; init: random | pretrained | file
    training          {steps, minutes, demos, samples_per_s}
    losses            last logged losses
    validation        val_loss, and val_error_mm [mm] where the policy acts; empty without demos
    start             the run before this stage {run, training, sha256, start}; null for none
    git, versions     commit of the code, versions of what decides results
    hardware          the machine, and the number of threads
    checksum          of all this (`para.files.seal`)
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from para.errors import CheckpointError, ParaError, one_line
from para.fields import check
from para.files import atomic_write, atomic_write_json, damaged, not_a_file, read_json, seal
from para.policies.base import Policy, build_policy
from para.records import Amount, Count, Hardware, Record, Text
from para.runs.config import TrainConfig, require_as_written, train_config_from_dict
from para.runs.contents import POLICY, POLICY_META
from para.tensors import Tensors, checksum_of, read_finite, save_tensors

FORMAT = 3
"""Of checkpoints and policy files. 1 had inference settings in the model, 2 no checksum."""
READABLE = (2, 3)
_TRAIN_AGAIN = "Run the training command again."

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Named(Record):
    name: Text
    kind: Text


class _Augment(Record):
    name: Text | None = None


class _Config(Record):
    """What is read of the configuration without building anything; the rest is checked then."""

    model: _Named
    backbone: _Named
    augment: _Augment
    env: dict[str, Any]
    seed: Count


class _Environment(Record):
    version: int = Field(ge=1)


class _Backbone(Record):
    name: Text
    init: Text


class TrainingNumbers(Record):
    """What a run was given."""

    steps: Count
    minutes: Amount
    demos: Count
    samples_per_s: Amount


class _Start(Record):
    run: Text
    training: TrainingNumbers
    sha256: Sha256
    start: _Start | None


class _Meta(Record):
    """policy.json"""

    sha256: Sha256
    finished: bool
    config: _Config
    environment: _Environment = Field(_Environment(version=1))
    backbone: _Backbone
    training: TrainingNumbers
    losses: dict[str, float]
    validation: dict[str, float]
    start: _Start | None
    git: Text
    versions: dict[str, str]
    hardware: Hardware


def is_sealed(meta: dict[str, Any]) -> bool:
    """Must a file of a run with this content have a checksum? Those of format 2 had none."""
    return meta.get("format") != 2


def require_format(meta: dict[str, Any], source: Path) -> None:
    """Raise CheckpointError unless this version of PARA reads the `format` of a run's file."""
    number = meta.get("format")
    if type(number) is not int or number not in READABLE:
        raise CheckpointError(
            f"{source} has format {one_line(number)}; this version of PARA reads "
            f"{' and '.join(map(str, READABLE))}. Train again with fresh=true."
        )


def save_policy(folder: Path, tensors: Tensors, meta: dict[str, Any]) -> None:
    """Write policy.safetensors, then policy.json with its checksum.

    Raises:
        CheckpointError: `meta` lacks something that readers need, or has it of another type.
    """
    path, meta_path = folder / POLICY, folder / POLICY_META
    with atomic_write(path) as aside:
        save_tensors(tensors, aside)
        whole = {"format": FORMAT, **meta, "sha256": checksum_of(aside)}
        _require_meta(whole, meta_path)
    atomic_write_json(meta_path, seal(whole))


def read_policy_meta(folder: Path | str) -> dict[str, Any]:
    """policy.json of a run; `policy_config` checks its configuration to the last key.

    Raises:
        CheckpointError: It is missing, damaged, or of another format version.
    """
    path = Path(folder) / POLICY_META
    meta = read_json(path, CheckpointError, _TRAIN_AGAIN, sealed=is_sealed)
    require_format(meta, path)
    _require_meta(meta, path)
    return meta


def _require_meta(meta: dict[str, Any], path: Path) -> None:
    try:
        _Meta.check(meta)
    except ValueError as error:
        raise damaged(path, error, CheckpointError, _TRAIN_AGAIN) from error


def policy_config(folder: Path | str, meta: dict[str, Any]) -> TrainConfig:
    """The configuration in a run's policy.json, with every value in its bounds.

    Raises:
        CheckpointError: It is of another version of PARA, or no configuration.
    """
    try:
        cfg = train_config_from_dict(meta["config"])
        check(cfg)
        require_as_written(cfg, meta["config"])
    except ParaError as error:
        raise CheckpointError(f"{Path(folder) / POLICY_META}: {error}") from error
    return cfg


def read_policy_tensors(folder: Path | str, meta: dict[str, Any]) -> Tensors:
    """policy.safetensors of a run; 16-bit floats (`para.pretrained.ship`) are made 32-bit ones.

    Raises:
        CheckpointError: It is missing, damaged, a pickle, not finite, or not what `meta` is about.
    """
    tensors = read_finite(Path(folder) / POLICY)
    require_weights(folder, meta)
    return {k: t.float() if t.dtype == torch.half else t for k, t in tensors.items()}


def require_weights(folder: Path | str, meta: dict[str, Any]) -> None:
    """Raise CheckpointError unless policy.safetensors is the file that `meta` is about."""
    path = Path(folder) / POLICY
    if reason := not_a_file(path):
        raise CheckpointError(f"{path} {reason}. Run the training command again.")
    if checksum_of(path) != meta["sha256"]:
        raise CheckpointError(
            f"{path} is not the file that policy.json describes: one of them was altered, or "
            "training was killed between writing the two. Run the training command again."
        )


def policy_version(meta: dict[str, Any]) -> int:
    """Version of the simulated world that a policy's demos show, from its policy.json."""
    return meta.get("environment", {}).get("version", 1)


def require_version(meta: dict[str, Any], version: int, folder: Path) -> None:
    """Raise `CheckpointError` unless a policy's demos show this version of the simulated world.

    Args:
        meta: Its policy.json.
        version: `envs.base.Task.version`.
        folder: Of the run, for the message.
    """
    trained = policy_version(meta)
    if trained != version:
        raise CheckpointError(
            f"{folder} was trained on demos of physics {trained} of the simulated world; this code "
            f"simulates physics {version}. Train again with fresh=true."
        )


def load_policy(folder: Path | str) -> tuple[Policy, dict[str, Any]]:
    """The trained policy of a run, in eval mode on the CPU, and its policy.json.

    Raises:
        CheckpointError: A file is missing, damaged, a pickle, or of another architecture.
    """
    folder = Path(folder)
    meta = read_policy_meta(folder)
    cfg = policy_config(folder, meta)
    tensors = read_policy_tensors(folder, meta)
    backbone = dataclasses.replace(cfg.backbone, weights="random")  # the file has the real ones
    with torch.random.fork_rng(devices=[]):
        policy = build_policy(cfg.model, backbone, cfg.env.image_size, cfg.text)
    policy.load(tensors, str(folder / POLICY))
    return policy.eval(), meta
