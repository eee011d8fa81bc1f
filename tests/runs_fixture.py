"""What a run leaves besides tensors, made up."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from envs.table import PHYSICS
from para.cli import load_config
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.policy_file import save_policy
from para.training.stages import stage_configs


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


def save_untrained(folder: Path, overrides: list[str], **changes: Any) -> None:
    """A policy that has learned nothing, as a run with these overrides leaves one."""
    *_, cfg = stage_configs(load_config(TrainConfig, overrides))
    torch.manual_seed(0)
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size, cfg.text)
    save_policy(folder, policy.state_dict(), policy_meta(cfg, **changes))
