"""Shell commands that messages can end with."""

from __future__ import annotations

from para.cli import load_config
from para.places import typed
from para.runs.config import TrainConfig


def command(script: str, cfg: TrainConfig) -> str:
    """The shell command that runs train or eval (`script`) on what `cfg` trains."""
    usual = load_config(TrainConfig, [f"profile={cfg.profile}"])
    words = [f"split={cfg.split.name}", f"model={cfg.model.name}"]
    if cfg.profile != "laptop":
        words.append(f"profile={cfg.profile}")
    if cfg.backbone.name != usual.backbone.name:
        words.append(f"backbone={cfg.backbone.name}")
    if cfg.task.name != usual.task.name:
        words.append(f"task={cfg.task.name}")
    folders = ("data_dir", "runs_dir", "results_dir", "reference_dir", "outputs_dir")
    for key in ("robot", "layout", "seed", *folders):
        if getattr(cfg, key) != getattr(usual, key):
            words.append(f"{key}={getattr(cfg, key)}")
    return f"{typed(script)} {' '.join(words)}"
