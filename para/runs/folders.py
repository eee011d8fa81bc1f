"""The runs on disk: where one lies, and those that there are."""

from __future__ import annotations

from pathlib import Path

from para.common import CommonConfig
from para.policies.base import POLICIES
from para.runs.config import TrainConfig
from para.runs.contents import POLICY_META
from para.runs.identity import RunId, Setting, place
from para.runs.policy_file import read_policy_meta


def setting_of(cfg: CommonConfig) -> Setting:
    """What the episodes of `cfg` are made in."""
    return Setting(cfg.task.name, cfg.robot, cfg.layout)


def run_id(cfg: TrainConfig) -> RunId:
    """What identifies the run that `cfg` asks for."""
    return RunId(
        *(setting_of(cfg), cfg.profile, cfg.split.train_set),
        *(cfg.model.name, cfg.backbone.name, cfg.seed),
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
    seed: int | None = None,
) -> list[Path]:
    """Folders of runs that have a policy to evaluate, sorted; None matches every name or seed.

    What only prepares other policies (model=video) is left out.
    """
    found = []
    group = place(runs_dir, setting, profile, train_set)
    for path in sorted(group.glob(f"*/seed*/{POLICY_META}")):
        config = read_policy_meta(path.parent)["config"]
        if (
            model in (None, config["model"]["name"])
            and backbone in (None, config["backbone"]["name"])
            and seed in (None, config["seed"])
            and POLICIES.config(config["model"]["kind"]).acts
        ):
            found.append(path.parent)
    return found
