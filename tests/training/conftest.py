"""Tiny runs on made-up demos: 32 px, an eighth of a ResNet, a few steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from synthetic_demos import make_dataset
from tiny import tiny_config

from para.data.dataset import DemoDataset
from para.runs.config import TrainConfig
from para.training.loop import train
from para.training.summary import TrainSummary

Datasets = tuple[DemoDataset, DemoDataset | None]


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Datasets:
    """Four demos of 20 frames to train on, one held out."""
    folder = make_dataset(tmp_path_factory.mktemp("demos"), episodes=5, size=32)
    return DemoDataset(folder, range(4), 4, 2), DemoDataset(folder, [4], 4, 2)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """config("seed=1", runs="b"): a small training configuration, in a runs folder of its own."""
    return lambda *overrides, runs="runs": tiny_config(tmp_path / runs, *overrides)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, datasets: Datasets
) -> tuple[TrainConfig, TrainSummary]:
    """A finished run and its configuration."""
    overrides = ("training.steps=3", "training.warmup_steps=1")
    cfg = tiny_config(tmp_path_factory.mktemp("trained"), *overrides)
    return cfg, train(cfg, progress=False, datasets=datasets)
