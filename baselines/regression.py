"""Global regression: world coordinates from one pooled feature, the PARA paper's baseline.

The notes call it ACT; of Zhao et al. (2023) it has the transformer and the action chunks, but
neither the spatial tokens nor the CVAE. See `baselines/act.py` for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.detr import TransformerConfig, WaypointRegressor
from para.backbones import BackboneConfig
from para.policies.base import POLICIES


@dataclass
class RegressionConfig(TransformerConfig):
    """configs/model/regression.yaml"""

    kind: str = "regression"


@POLICIES.register("regression", RegressionConfig)
class RegressionPolicy(WaypointRegressor):
    """Waypoints from the CLS token, or the pooled feature of a convolutional network.

    Waypoints past the end of a demo, where the last pose repeats, are supervised as PARA's are.

    Args:
        cfg: The model (configs/model/regression.yaml).
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
    """

    def __init__(self, cfg: RegressionConfig, backbone_cfg: BackboneConfig, image_size: int):
        super().__init__(cfg, backbone_cfg, image_size, spatial=False)

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`. "l1" is in standard deviations of the waypoints."""
        seen = self.seen(batch)
        target, visible = self.targets(batch, seen.camera)
        predicted = self.actions(seen)
        error = (predicted - target).abs()
        loss = (error * visible[..., None]).sum() / (visible.sum().clamp(min=1) * error.shape[-1])
        scalars = {"loss": loss, "l1": loss, "masked": (~visible).sum()}
        return scalars | (self.errors(predicted, batch, seen.camera) if metrics else {})
