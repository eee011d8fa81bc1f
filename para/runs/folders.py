"""Where training runs lie."""

from __future__ import annotations

from pathlib import Path

from para.policies.base import POLICIES
from para.runs.config import TrainConfig
from para.runs.policy_file import read_policy_meta


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

    What only prepares other policies (model=video) is left out.
    """
    folder = Path(runs_dir) / profile / _group(train_set, robot, layout)
    found = []
    for path in sorted(folder.glob("*/seed*/policy.json")):
        config = read_policy_meta(path.parent)["config"]
        if (
            model in (None, config["model"]["name"])
            and backbone in (None, config["backbone"]["name"])
            and seed in (None, config["seed"])
            and POLICIES.config(config["model"]["kind"]).acts
        ):
            found.append(path.parent)
    return found
