"""One process of trainings with several: what torchrun starts in test_processes.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from test_resume import kill_at
from test_stages import SMALL
from tiny import tiny_config
from torch.distributed.tensor import DTensor

from para.cli import load_config
from para.data.dataset import DemoDataset
from para.runs.config import TrainConfig
from para.training import sharding
from para.training.loop import train


def main(kind: str, demos: Path, folder: Path, runs: list[dict]) -> None:
    """Train a few tiny steps for each of `runs`, one after the other in this process.

    A run is {"runs": folder, "stop_at": step before which it dies, or null, "overrides": [...]}.
    """
    launcher_shards = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    clip = None if kind == "image" else (3, 6)
    shape = (4, 2 if kind == "image" else 3, clip)
    datasets = tuple(DemoDataset(demos, indices, *shape) for indices in (range(3), [3]))
    for run in runs:
        cfg = _config(kind, folder / run["runs"], run["overrides"])
        with pytest.MonkeyPatch.context() as patch:
            kill_at(run["stop_at"], patch)
            split = _watch_sharding(patch)
            try:
                train(cfg, progress=False, datasets=datasets)
                assert run["stop_at"] is None
            except SystemError:
                assert run["stop_at"] is not None
        assert split == [True] * (launcher_shards or "training.shard=true" in run["overrides"])


def _watch_sharding(patch: pytest.MonkeyPatch) -> list[bool]:
    """Grows by one whenever a policy is sharded: are all of its and its average's weights split?"""
    split, original = [], sharding.shard

    def shard(losses, policy, average, device_type):
        original(losses, policy, average, device_type)
        weights = [*policy.parameters(), *average.parameters()]
        split.append(all(isinstance(weight, DTensor) for weight in weights))

    patch.setattr(sharding, "shard", shard)
    return split


def _config(kind: str, runs_dir: Path, overrides: list[str]) -> TrainConfig:
    if kind == "image":
        return tiny_config(runs_dir, "training.precision=fp32", *overrides)
    stage = "recipe.stages.joint"
    words = ["backbone=svd_tiny", "recipe=joint", f"{stage}.steps=5", f"{stage}.batch_size=2"]
    return load_config(TrainConfig, [*words, *SMALL, f"runs_dir={runs_dir}", *overrides])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
