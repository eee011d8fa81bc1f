"""What a run leaves besides tensors, made up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from envs.table import PHYSICS
from para.runs.config import TrainConfig


def policy_meta(cfg: TrainConfig, **changes: Any) -> dict[str, Any]:
    """What training hands to `save_policy` for a finished run of `cfg`."""
    return {
        "finished": True,
        "config": asdict(cfg),
        "environment": {"version": PHYSICS},
        "backbone": {"name": cfg.backbone.name, "init": "random"},
        "training": {"steps": 20, "minutes": 0.1, "demos": 16, "samples_per_s": 53.3},
        "losses": {"loss": 1.5},
        "validation": {},
        "start": None,
        "git": "unknown",
        "versions": {},
        "hardware": {"cores": 2, "threads": 1},
        **changes,
    }
