"""Pixel output and nothing else: u, v and z from one global feature, unprojected by the camera.

Everything is as in `baselines/regression.py`, but the end effector is told, and waypoints are
answered, as a pixel and a height; the pixel's ray meets the plane at that height, as in PARA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.regression import RegressionConfig, RegressionPolicy
from para.policies.base import POLICIES, WARPS
from para.policies.frames import IMAGE, Frame


@dataclass
class PixelRegressionConfig(RegressionConfig):
    """configs/model/pixel_regression.yaml"""

    kind: str = "pixel_regression"


@POLICIES.register("pixel_regression", PixelRegressionConfig)
class PixelRegressionPolicy(RegressionPolicy):
    """Pixels and heights, from the pooled feature.

    Labels outside the image are masked and counted ("masked"); a predicted pixel whose ray misses
    its height is flagged (`ActionChunk.missed`), and counted in the metrics ("missed").
    """

    told_camera: ClassVar[bool] = True
    follows: ClassVar[frozenset[str]] = WARPS
    frame: ClassVar[Frame] = IMAGE
