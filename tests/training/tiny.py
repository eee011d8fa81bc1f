"""The smallest training configuration."""

from __future__ import annotations

from pathlib import Path

from para.cli import load_config
from para.runs.config import TrainConfig

TINY = """
    profile=smoke env.image_size=32 heatmap_size=8 backbone.width=0.125 backbone.channels=32
    model.horizon=4 model.waypoint_stride=2 workers=1 training.steps=6
    training.batch_size=4 training.warmup_steps=2 training.log_every=4 training.checkpoint_every=3
"""


def tiny_config(runs_dir: Path, *overrides: str) -> TrainConfig:
    """Six steps of four samples of 32 px; checkpoints at steps 3 and 6."""
    return load_config(TrainConfig, [*TINY.split(), f"runs_dir={runs_dir}", *overrides])
