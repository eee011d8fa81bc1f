"""A small policy behind a server, and what a robot would send it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from para.cli import load_config
from para.serving import messages
from para.serving.config import ServeConfig
from para.serving.server import PolicyServer, serving
from tests.models.model_fixtures import default_camera
from tests.runs_fixture import save_untrained

SMALL = ["profile=smoke", "env.image_size=32", "model.heatmap_size=8"]
"""What the policy is trained with."""


@pytest.fixture(scope="session")
def small_policy(tmp_path_factory) -> Path:
    """A policy for 32 px images that has learned nothing."""
    folder = tmp_path_factory.mktemp("served") / "small"
    save_untrained(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def server(small_policy: Path) -> Iterator[PolicyServer]:
    """It behind a server; the box is wide, as an untrained policy points anywhere."""
    wide = ["safety.low=[-9,-9,-9]", "safety.high=[9,9,9]", "safety.max_step=10"]
    wide += ["safety.min_confidence=0"]
    arguments = [f"policy={small_policy}", "port=0", "max_message_mb=0.25", "workers=1", *wide]
    with serving(load_config(ServeConfig, arguments)) as server:
        yield server


def request(seed: int = 0, height: int = 48, width: int = 64, **changes: Any) -> dict[str, Any]:
    """What a robot with a camera of another shape than the policy's sends."""
    camera = default_camera(height)
    intrinsics = camera.intrinsics.copy()
    intrinsics[0, 2] = width / 2
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {
        messages.IMAGE: noise,
        messages.INTRINSICS: intrinsics,
        messages.EXTRINSICS: camera.T_world_camera,
        messages.STATE: np.array([0.0, 0.1, 0.2, 1.0]),
        messages.PROMPT: "put the bowl on the plate",
        **changes,
    }
