"""The policy of a finished run as one that comes with the code.

    python scripts/train.py model=para split=lr
    python -m para.pretrained.ship \\
        runs/bowl_on_plate-panda-together/laptop/left/para-resnet18-camera/seed0 para_lr
    python scripts/eval.py policy=para_lr

Large weights are stored as 16-bit floats, which halves the file. That moves predictions a little:
how far is measured and stands in the folder's README.md. The policy is called like its folder, so
that its results stand beside those of the run instead of replacing them.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from envs.base import build_task
from envs.splits import test_conditions
from para.errors import CheckpointError, ParaError
from para.fields import check_field
from para.files import aside_of
from para.places import typed
from para.policies.base import Policy, PolicyConfig
from para.pretrained import FOLDER
from para.runs.config import TrainConfig
from para.runs.policy_file import load_policy, policy_config, save_policy
from para.tensors import Tensors
from para.types import Observation

MOST_BYTES = 15_000_000
"""Of all that a policy's folder holds."""
LARGE = 1000
"""Tensors of at least so many numbers are halved; statistics and biases stay as they are."""
STARTS = 16
"""Starts, in the training distribution, whose first predictions are compared."""

log = logging.getLogger(__name__)


def ship(run: Path, name: str, into: Path = FOLDER) -> Path:
    """Copy the policy of a finished run to `into`/`name`, replacing one of this name.

    Args:
        run: Folder of the run.
        name: Of the policy from now on.
        into: Folder of all policies that come with the code.

    Raises:
        CheckpointError: It is damaged, has not finished, or is larger than MOST_BYTES.
        ConfigError: `name` is no name.
    """
    named = next(field for field in fields(PolicyConfig) if field.name == "name")
    check_field("NAME", named, name)
    policy, meta = load_policy(run)
    del meta["format"]  # it is written anew
    cfg = policy_config(run, meta)
    if not meta["finished"] or not cfg.model.acts:
        raise CheckpointError(f"{run} holds no finished policy that acts.")
    tensors = halved(policy.state_dict())
    cfg.model.name = name
    aside = aside_of(into / name)
    try:
        aside.mkdir(parents=True)
        save_policy(aside, tensors, meta | {"config": _portable(cfg)})
        moved_mm = largest_move_mm(policy, load_policy(aside)[0], first_observations(cfg))
        (aside / "README.md").write_text(_card(name, cfg, meta, moved_mm), encoding="utf-8")
        size = sum(path.stat().st_size for path in aside.iterdir())
        if size > MOST_BYTES:
            raise CheckpointError(
                f"{run} would take {size / 1e6:.1f} MB of {MOST_BYTES / 1e6:.0f}."
            )
        shutil.rmtree(into / name, ignore_errors=True)
        os.replace(aside, into / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return into / name


def halved(tensors: Tensors) -> Tensors:
    """Tensors with the large ones as 16-bit floats; loading makes them 32-bit ones again."""
    return {
        key: tensor.half() if tensor.numel() >= LARGE and tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
    }


def largest_move_mm(first: Policy, second: Policy, observations: Sequence[Observation]) -> float:
    """Largest distance between the same waypoint of two policies' predictions [mm]."""
    distances = []
    for a, b in zip(first.predict(observations), second.predict(observations), strict=True):
        moved = np.linalg.norm(a.positions - b.positions, axis=1)
        distances.append(np.where(a.missed & b.missed, 0.0, np.nan_to_num(moved, nan=np.inf)))
    return 1000 * float(np.max(distances))


def first_observations(cfg: TrainConfig) -> list[Observation]:
    """What a policy sees at the beginning of episodes in its training distribution."""
    task = build_task(cfg.task)
    env = task.environment(cfg.robot, cfg.layout, cfg.env)
    observations = []
    starts = test_conditions(
        cfg.split, "sanity", task, cfg.layout, STARTS, appearance=cfg.appearance
    )
    for condition in starts:
        env.begin(condition)
        observations.append(env.observe())
    return observations


def _portable(cfg: TrainConfig) -> dict[str, Any]:
    """The configuration without this machine's folders and number of workers."""
    local = {"workers", *(field.name for field in fields(cfg) if field.metadata.get("folder"))}
    return {key: value for key, value in asdict(cfg).items() if key not in local}


def _card(name: str, cfg: TrainConfig, meta: dict[str, Any], moved_mm: float) -> str:
    """The page beside a policy."""
    training, backbone = meta["training"], meta["backbone"]
    rows = {
        "trained": f"{training['steps']} steps on {training['demos']} simulated demonstrations of "
        f"a scripted expert, {training['minutes']:.1f} minutes, seed {cfg.seed}",
        "code": meta["git"],
        "backbone": f"{backbone['name']}, initial weights: {backbone['init']}",
        "input": f"RGB image of {cfg.env.image_size} px, its camera, state of the end effector",
        "weights": f"averaged (EMA); tensors of {LARGE} numbers and more as 16-bit floats, which "
        f"moved no waypoint of the predictions from {STARTS} starts by more than {moved_mm:.2g} mm",
        "licence": "that of this repository",
    }
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{cfg.model.title or cfg.model.kind} for {cfg.task.name} ({cfg.robot}, layout "
            f"{cfg.layout}), trained on the split `{cfg.split.name}` ({cfg.split.title}) of "
            f"profile `{cfg.profile}`:",
            "",
            f"    {typed('eval')} policy={name}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {what} | {text} |" for what, text in rows.items()),
            "",
            "It has seen one simulated scene; nothing follows for real cameras and robots.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m para.pretrained.ship", description="Ship the policy of a finished run."
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("name", help="of the policy, as in policy=NAME")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        folder = ship(asked.run, asked.name)
    except ParaError as error:
        parser.error(str(error))
    for path in sorted(folder.iterdir()):
        log.info("%s  %.1f MB", path, path.stat().st_size / 1e6)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
