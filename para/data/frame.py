"""What a demo keeps of an environment at one moment, beside its picture."""

from __future__ import annotations

import numpy as np

from envs.base import Environment
from para.data.format import OBJECTS


def seen_in(env: Environment) -> dict[str, np.ndarray]:
    """A row of each per-frame array but `actions` (para/data/format.py); renders nothing."""
    return {
        "obs/ee_pose": env.ee_pose,
        "obs/gripper": np.array(env.gripper),
        "obs/intrinsics": env.camera.intrinsics,
        "obs/T_world_camera": env.camera.T_world_camera,
        **{OBJECTS + name: pose for name, pose in env.objects().items()},
    }
