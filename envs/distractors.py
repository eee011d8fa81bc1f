"""Clutter: a pool of objects, of which each episode takes some."""

from __future__ import annotations

import mujoco


def add_pool(spec: mujoco.MjSpec) -> None:
    """Add every object of the pool to the scene."""
