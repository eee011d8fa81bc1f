"""The runs on disk: where one lies, and those that there are."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.multi_task import SUITE
from para.common import CommonConfig
from para.data.config import named
from para.data.own import OWN, own_name
from para.errors import ConfigError, one_line
from para.policies.base import POLICIES
from para.runs.config import TrainConfig
from para.runs.contents import POLICY_META
from para.runs.identity import RunId, Setting, place, policy_folder
from para.runs.policy_file import read_policy_meta

_logger = logging.getLogger(__name__)


def setting_of(cfg: CommonConfig) -> Setting:
    """What the episodes of `cfg` are made in."""
    return Setting(cfg.task.name, cfg.robot, cfg.layout, cfg.appearance)


def trained_setting(cfg: CommonConfig) -> Setting:
    """What the demos of a policy are made in, for a configuration with a split."""
    setting = setting_of(cfg)
    if not cfg.split.simulated:
        return Setting(OWN, "recorded", own_name(cfg.data))
    return learned_in(setting, cfg.split)


def learned_in(setting: Setting, split: Any) -> Setting:
    """Whose runs hold the policies of a split (its configuration) that is tested in `setting`.

    Those of a split that trains on every task lie together, whichever task is tested.
    """
    return replace(setting, task=SUITE) if split.every_task else setting


def run_id(cfg: TrainConfig) -> RunId:
    """What identifies the run that `cfg` asks for."""
    augment = cfg.augment.followed(POLICIES[cfg.model.kind].follows)
    return RunId(
        *(trained_setting(cfg), cfg.profile, cfg.split.train_set),
        *(cfg.model.name, cfg.backbone.name, augment.name, cfg.seed),
    )


def run_dir(cfg: TrainConfig) -> Path:
    """Folder of the run that `cfg` asks for. Splits with the same training set share it."""
    return run_id(cfg).folder(cfg.runs_dir)


def find_runs(
    runs_dir: Path | str,
    setting: Setting,
    profile: str,
    train_set: str,
    model: str | None = None,
    backbone: str | None = None,
    augment: str | None = None,
    seed: int | None = None,
) -> list[Path]:
    """Folders of runs that have a policy to evaluate, sorted; None matches every name or seed.

    What only prepares other policies (model=video) is left out, and with a warning what says that
    it is the policy of another folder.

    Raises:
        CheckpointError: One of them is damaged.
    """
    found = []
    group = place(runs_dir, setting, profile, train_set)
    for path in sorted(group.glob(f"*/seed*/{POLICY_META}")):
        folder = path.parent
        parts = [*folder.parent.name.split("-"), "", ""]
        wanted = zip((model, backbone, augment), parts, strict=False)
        if any(name not in (None, own) for name, own in wanted) or (
            seed is not None and folder.name != f"seed{seed}"
        ):
            continue  # not read, so that another policy's damage is no obstacle
        config = read_policy_meta(folder)["config"]
        says = f"{_policy_in(config)}/seed{config['seed']}"
        if says != f"{folder.parent.name}/{folder.name}":
            _logger.warning("%s says that it is %s: left out.", path, one_line(says))
        elif POLICIES.config(config["model"]["kind"]).acts:
            found.append(folder)
    return found


def _policy_in(config: dict[str, Any]) -> str:
    """The folder of the policy that a recorded configuration trains."""
    parts = (config["model"]["name"], config["backbone"]["name"], named(config["augment"])["name"])
    try:
        return policy_folder(*parts)
    except ConfigError:
        return "-".join(parts)
