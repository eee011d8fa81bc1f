"""The one policy that `policy=PATH|NAME` chooses, wherever it lies."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from para.errors import CheckpointError, ConfigError, ResultError, one_line
from para.evaluation.config import EvalConfig
from para.evaluation.job import results_root
from para.evaluation.results import read_result
from para.evaluation.trained import TrainedRun, trained_run
from para.pretrained import policy_folder
from para.runs.contents import POLICY_META
from para.runs.folders import run_id
from para.runs.policy_file import load_policy, policy_config, read_policy_meta

_WORD = re.compile(r"[\w.]{1,80}", re.ASCII)


def trained_in(policy: str) -> dict[str, str]:
    """What a policy was trained in, as keys and values of an evaluation's command line.

    Raises:
        CheckpointError: There is no such policy, or its policy.json is damaged.
    """
    folder = policy_folder(policy)
    trained = policy_config(folder, read_policy_meta(folder))
    values: dict[str, Any] = {
        "task": trained.task.name,
        "robot": trained.robot,
        "layout": trained.layout,
        "appearance": trained.appearance,
        "profile": trained.profile,
        "seed": trained.seed,
        "split": trained.split.name,
        **{f"env.{name}": value for name, value in asdict(trained.env).items()},
    }
    for key, value in values.items():
        if isinstance(value, str) and not _WORD.fullmatch(value):
            raise CheckpointError(f"{folder / POLICY_META}: {key} is {one_line(value)!r}, no name.")
    return {k: "null" if v is None else str(v) for k, v in values.items()}


def chosen_policy(cfg: EvalConfig) -> TrainedRun:
    """The policy that `cfg.policy` names, loaded once to see that it can be.

    Raises:
        CheckpointError: There is none, or it is damaged.
        ConfigError: `cfg` contradicts what it was trained in, or its result would replace that of
            another policy.
    """
    folder = policy_folder(str(cfg.policy))
    trained = policy_config(folder, read_policy_meta(folder))
    if not trained.model.acts:
        raise ConfigError(f"{folder} only prepares other policies: there is nothing to evaluate.")
    own_task = cfg.task if trained.split.every_task else trained.task
    asked = {
        "task": (cfg.task, own_task),
        "robot": (cfg.robot, trained.robot),
        "layout": (cfg.layout, trained.layout),
        "appearance": (cfg.appearance, trained.appearance),
        "profile": (cfg.profile, trained.profile),
        "seed": (cfg.seed, trained.seed),
        "model": (cfg.model, trained.model.name),
        "backbone": (cfg.backbone, trained.backbone.name),
        "augment": (cfg.augment, run_id(trained).augment),
    }
    for key, (ours, theirs) in asked.items():
        if ours not in (None, theirs):
            ours, theirs = getattr(ours, "name", ours), getattr(theirs, "name", theirs)
            raise ConfigError(
                f"{key}={ours} contradicts policy={cfg.policy}, which was trained with "
                f"{key}={theirs}. Leave {key}= away."
            )
    if cfg.split.train_set != trained.split.train_set or (
        cfg.split.every_task != trained.split.every_task
    ):
        raise ConfigError(
            f"split={cfg.split.name} tests policies that were trained on {cfg.split.train_set!r}, "
            f"but policy={cfg.policy} was trained on {trained.split.train_set!r} "
            f"(split={trained.split.name})."
        )
    run = trained_run(cfg, folder)
    load_policy(folder)
    _require_own_place(cfg, run)
    return run


def _require_own_place(cfg: EvalConfig, run: TrainedRun) -> None:
    path = run.id.path(results_root(cfg))
    if cfg.fresh or not path.exists():
        return
    try:
        before = read_result(path)
    except ResultError:
        return  # the evaluation says so, and replaces it
    if before["training"].get("sha256") != run.meta["sha256"]:
        raise ConfigError(
            f"{path} is the result of another policy of the same name, which that of "
            f"policy={cfg.policy} would replace. Keep both with results_dir=FOLDER, or add "
            "fresh=true."
        )
