"""ACT in the camera's frame: what OC-VLA (arXiv 2508.13103) does to a policy, done to ACT.

The end effector is told, and waypoints are answered, where the camera sees them: x right, y down,
z forward [m]. T_world_camera turns that into the world. A warp that shifts or scales the image
changes K, so the rays, in the camera's frame too, are an input (`baselines/rays.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.act import ActConfig, ActPolicy
from para.policies.base import POLICIES, WARPS
from para.policies.frames import CAMERA, Frame


@dataclass
class ActCameraConfig(ActConfig):
    """configs/model/act_camera.yaml"""

    kind: str = "act_camera"


@POLICIES.register("act_camera", ActCameraConfig)
class ActCameraPolicy(ActPolicy):
    """Camera coordinates, from the cells of the last map and the rays."""

    told_camera: ClassVar[bool] = True
    follows: ClassVar[frozenset[str]] = WARPS
    frame: ClassVar[Frame] = CAMERA
    sees_rays: ClassVar[bool] = True
