"""The trained policies that an evaluation is about."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from para.cli import load_config
from para.errors import CheckpointError, ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.results import model_order
from para.places import typed
from para.runs.folders import find_runs, setting_of
from para.runs.identity import ResultId, label
from para.runs.labels import usual_backbone
from para.runs.policy_file import read_policy_meta

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A training run with a policy to evaluate.

    Attributes:
        folder: Its folder.
        label: Name of the policy in tables and figures.
        id: What its result will be of.
        meta: Its policy.json.
    """

    folder: Path
    label: str
    id: ResultId
    meta: dict[str, Any]


def trained_runs(cfg: EvalConfig) -> list[TrainedRun]:
    """Trained policies for `cfg.split` with `cfg.seed`, PARA first.

    Raises:
        CheckpointError: There are none; names the training command.
        ConfigError: One was trained on images of another size than `cfg.env` renders, or predicts
            fewer waypoints than are to be executed.
    """
    setting, split = setting_of(cfg), cfg.split
    folders = find_runs(
        *(cfg.runs_dir, setting, cfg.profile, split.train_set),
        *(cfg.model, cfg.backbone, cfg.seed),
    )
    if not folders:
        what = f"model={cfg.model}" if cfg.model else "any model"
        raise CheckpointError(
            f"No trained policy of {what} for split={split.name} in {cfg.runs_dir} (training set "
            f"{split.train_set}, {setting.name}, profile {cfg.profile}, seed {cfg.seed}). Train "
            f"one first:\n  {training_command(cfg)}"
        )
    runs = []
    for folder in folders:
        meta = read_policy_meta(folder)
        trained = meta["config"]
        model, backbone = trained["model"]["name"], trained["backbone"]["name"]
        size, horizon = trained["env"]["image_size"], trained["model"]["horizon"]
        if size != cfg.env.image_size:
            raise ConfigError(
                f"{folder} was trained on {size} px images: evaluate it with env.image_size={size} "
                f"instead of {cfg.env.image_size}."
            )
        if cfg.execute > horizon:
            raise ConfigError(
                f"execute={cfg.execute}, but {folder} predicts {horizon} waypoints: only predicted "
                f"waypoints can be executed. Use execute={horizon} or less."
            )
        if not meta["finished"]:
            _logger.warning("%s: training has not finished; evaluating what there is.", folder)
        name = label(model, backbone, usual_backbone(cfg.profile))
        found = ResultId(setting, cfg.profile, split.name, model, backbone, cfg.seed)
        runs.append(TrainedRun(folder, name, found, meta))
    return sorted(runs, key=lambda run: model_order(run.label))


def training_command(cfg: EvalConfig) -> str:
    """The command that trains what `cfg` would evaluate."""
    words = [f"model={cfg.model or 'para'}", f"split={cfg.split.name}"]
    words += [f"backbone={cfg.backbone}"] if cfg.backbone else []
    words += [f"task={cfg.task.name}"] if cfg.task.name != load_config(EvalConfig).task.name else []
    for name, default in (("robot", "panda"), ("layout", "together"), ("seed", 0)):
        value = getattr(cfg, name)
        words += [f"{name}={value}"] if value != default else []
    words += [f"profile={cfg.profile}"] if cfg.profile != "laptop" else []
    return " ".join([typed("train"), *words])
