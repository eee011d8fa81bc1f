"""Global regression that is told the camera: world coordinates from one feature and the rays.

Everything is as in `baselines/regression.py`, with the Pluecker map of the image's rays beside the
image (`baselines/rays.py`). With a single training camera that never moves the map is constant and
cannot help; with camera-consistent augmentation every sample has another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.regression import RegressionConfig, RegressionPolicy
from para.policies.base import POLICIES, WARPS


@dataclass
class RegressionCameraConfig(RegressionConfig):
    """configs/model/regression_camera.yaml"""

    kind: str = "regression_camera"


@POLICIES.register("regression_camera", RegressionCameraConfig)
class RegressionCameraPolicy(RegressionPolicy):
    """World coordinates, from the pooled feature and the rays."""

    told_camera: ClassVar[bool] = True
    follows: ClassVar[frozenset[str]] = WARPS
    sees_rays: ClassVar[bool] = True
