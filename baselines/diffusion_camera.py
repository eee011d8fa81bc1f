"""Diffusion Policy in the camera's frame, and told the rays: see `baselines/act_camera.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.diffusion import DiffusionConfig, DiffusionPolicy
from para.policies.base import POLICIES, WARPS
from para.policies.frames import CAMERA, Frame


@dataclass
class DiffusionCameraConfig(DiffusionConfig):
    """configs/model/diffusion_camera.yaml"""

    kind: str = "diffusion_camera"


@POLICIES.register("diffusion_camera", DiffusionCameraConfig)
class DiffusionCameraPolicy(DiffusionPolicy):
    """Camera coordinates by denoising, given the pooled feature, the rays and the state."""

    told_camera: ClassVar[bool] = True
    follows: ClassVar[frozenset[str]] = WARPS
    frame: ClassVar[Frame] = CAMERA
    sees_rays: ClassVar[bool] = True
